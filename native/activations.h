// Activations in 8 bits.
//
// A row has one float scale, each group of 32 inputs an integer from 1 to 127 by which its values are to be multiplied as well:
//
//   activation ≈ scale · multiplier[group] · value        value −127…127
//
// A group's step is then as fine as if it had a float scale of its own (its largest value / 127, rounded up by at most scale), and
// yet all products of a row are whole numbers until the very end. A product with signs is 2 · (sum where the sign is plus) − (sum of
// all), so multipliers are stored doubled, where unsigned bytes can hold them, and the sums of all negated, as where to start from.
//
//   row, from a 64-byte boundary    0  scale    64  blocks of 128 inputs, the last filled up with zeros
//   block                           0  value of each input, i8    128  2 · multiplier of each input, u8
//                                   256  start: 16 × i32, −Σ multiplier · value over inputs 4i … 4i+3 and 64+4i … 64+4i+3
#pragma once
#include <math.h>
#include <string.h>
#include "tensor.h"

enum { block_inputs = 128, group_inputs = 32 };

struct quantized_block {
  int8_t values[block_inputs];
  uint8_t doubled[block_inputs];
  int32_t start[16];
};

struct quantized_row {
  float scale;
  char unused[60];
  struct quantized_block blocks[];
};

ALWAYS_INLINE size_t quantized_row_bytes(int64_t blocks) {
  return sizeof(struct quantized_row) + (size_t)blocks * sizeof(struct quantized_block);
}

ALWAYS_INLINE struct quantized_row *quantized_row(void *data, int64_t blocks, int64_t row) {
  char *first = (char *)(((uintptr_t)data + 63) & ~(uintptr_t)63);
  return (struct quantized_row *)(first + (size_t)row * quantized_row_bytes(blocks));
}

// The largest magnitude. Magnitudes of floats are ordered as their bits are, and integers may be compared in any order.
ALWAYS_INLINE float largest(const float *x, int64_t count) {
  int32_t bits = 0;
  for (int64_t i = 0; i < count; i++) {
    int32_t own;
    memcpy(&own, x + i, sizeof own);
    own &= 0x7fffffff;
    bits = own > bits ? own : bits;
  }
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

ALWAYS_INLINE void quantize_block(const float *x, float scale, float largest_of_row, struct quantized_block *block) {
  int32_t products[block_inputs];
  const float part_of_largest = 127.0f / largest_of_row, one = 1.0f / scale;
  for (int group = 0; group < block_inputs / group_inputs; group++) {
    const int first = group * group_inputs;
    const float part = ceilf(largest(x + first, group_inputs) * part_of_largest);
    const int32_t multiplier = part < 1.0f ? 1 : part > 127.0f ? 127 : (int32_t)part;
    const float inverse = one / (float)multiplier;
    for (int i = first; i < first + group_inputs; i++) products[i] = (int32_t)rintf(x[i] * inverse);
    for (int i = first; i < first + group_inputs; i++) block->values[i] = (int8_t)products[i];
    memset(block->doubled + first, 2 * multiplier, group_inputs);
    for (int i = first; i < first + group_inputs; i++) products[i] *= multiplier;
  }
  for (int lane = 0; lane < 16; lane++) {
    const int32_t *low = products + 4 * lane, *high = low + 64;
    block->start[lane] = -(low[0] + low[1] + low[2] + low[3] + high[0] + high[1] + high[2] + high[3]);
  }
}

ALWAYS_INLINE void quantize_row(const float *x, int64_t inputs, struct quantized_row *row) {
  const int64_t blocks = (inputs + block_inputs - 1) / block_inputs;
  const float most = largest(x, inputs);
  // Below that, the scale would leave the range of normal numbers: such a row is as good as zero.
  const float scale = most < 1e-30f ? 0.0f : most / (127.0f * 127.0f);
  row->scale = scale;
  if (scale == 0.0f) {
    memset(row->blocks, 0, (size_t)blocks * sizeof *row->blocks);
    return;
  }
  for (int64_t block = 0; block < blocks; block++) {
    const int64_t left = inputs - block * block_inputs;
    float padded[block_inputs] = {0};
    const float *own = x + block * block_inputs;
    if (left < block_inputs) own = memcpy(padded, own, (size_t)left * sizeof(float));
    quantize_block(own, scale, most, &row->blocks[block]);
  }
}

// result: bytes enough for the rows, of any type; src[0]: activations [inputs, rows] f32. Threads take rows in turn.
ALWAYS_INLINE void quantize_rows(struct ggml_tensor *result, int thread, int threads) {
  const struct ggml_tensor *x = result->src[0];
  const int64_t blocks = (x->ne[0] + block_inputs - 1) / block_inputs;
  for (int64_t row = thread; row < x->ne[1]; row += threads) {
    quantize_row((const float *)((const char *)x->data + (size_t)row * x->nb[1]), x->ne[0], quantized_row(result->data, blocks, row));
  }
}
