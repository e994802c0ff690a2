// Activations in 8 bits.
//
// A row has one float scale, each group of 32 inputs an integer from 1 to 127 by which its values are to be multiplied as well:
//
//   activation ≈ scale · multiplier[group] · value        value −127…127
//
// A group's step is then as fine as if it had a float scale of its own (its largest value / 127, rounded up by at most scale). A
// product with 8-bit weights takes them unsigned, 128 too large, a group at a time: it starts from −128 · (sum of the group) and ends
// with a multiplication by the group's step.
//
//   row, from a 64-byte boundary    0  scale     8  where the row's tables are, if it has some: see sign-tables.h
//                                  64  blocks of 128 inputs, the last filled up with zeros
//   block                           0  value of each input, i8
//                                 128  offset of each group: 4 × i32, −128 · Σ value
//                                 144  step of each group: 4 × f32, scale · multiplier
#pragma once
#include <math.h>
#include <string.h>
#include "tensor.h"

enum { block_inputs = 128, group_inputs = 32, block_groups = 4 };

struct quantized_block {
  int8_t values[block_inputs];
  int32_t offsets[block_groups];
  float steps[block_groups];
};

struct quantized_row {
  float scale;
  int64_t tables;  // bytes from here on
  char unused[48];
  struct quantized_block blocks[];
};

ALWAYS_INLINE size_t quantized_row_bytes(int64_t blocks) {
  return (sizeof(struct quantized_row) + (size_t)blocks * sizeof(struct quantized_block) + 63) & ~(size_t)63;
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
  const float part_of_largest = 127.0f / largest_of_row, one = 1.0f / scale;
  for (int group = 0; group < block_groups; group++) {
    const int first = group * group_inputs;
    const float part = ceilf(largest(x + first, group_inputs) * part_of_largest);
    const int32_t multiplier = part < 1.0f ? 1 : part > 127.0f ? 127 : (int32_t)part;
    const float inverse = one / (float)multiplier;
    int32_t values[group_inputs], sum = 0;
    for (int i = 0; i < group_inputs; i++) values[i] = (int32_t)rintf(x[first + i] * inverse);
    for (int i = 0; i < group_inputs; i++) block->values[first + i] = (int8_t)values[i];
    for (int i = 0; i < group_inputs; i++) sum += values[i];
    block->offsets[group] = -128 * sum;
    block->steps[group] = scale * (float)multiplier;
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
