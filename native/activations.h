// Activations in 8 bits.
//
// A row has one float scale, each group of 32 inputs an integer from 1 to 127 by which its values are to be multiplied as well:
//
//   activation ≈ scale · multiplier[group] · value        value −127…127
//
// A group's step is then as fine as if it had a float scale of its own (its largest value / 127, rounded up by at most scale), and
// yet all products of a row with signs are whole numbers until the very end. A product with signs is 2 · (sum where the sign is
// plus) − (sum of all), so multipliers are stored doubled, where unsigned bytes can hold them, and the sums of all negated, as where
// to start from. A product with 8-bit weights takes them unsigned, 128 too large, a group at a time: it starts from −128 · (sum of
// the group) and ends with a multiplication by the group's step.
//
//   row, from a 64-byte boundary    0  scale    64  blocks of 128 inputs, the last filled up with zeros
//   block                           0  value of each input, i8     128  2 · multiplier of each input, u8
//                                   256  negated: 8 × i32, together −Σ multiplier · value
//                                   288  offset of each group: 4 × i32, −128 · Σ value
//                                   304  step of each group: 4 × f32, scale · multiplier
#pragma once
#include <math.h>
#include <string.h>
#include "tensor.h"

enum { block_inputs = 128, group_inputs = 32, block_groups = 4, chunk_rows = 64 };
enum { row_group_bytes = group_inputs + 3 * 4, float_bits = 0x4b400000 };

struct quantized_block {
  int8_t values[block_inputs];
  uint8_t doubled[block_inputs];
  int32_t negated[8];
  char unused[32];
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

// A chunk of rows as base matrices take them.
struct row_chunk {
  char *groups;
  int64_t rows;  // filled up
};

ALWAYS_INLINE size_t group_bytes(struct row_chunk chunk) { return (size_t)chunk.rows * row_group_bytes; }

// The chunk of a row, of `rows` rows in all.
ALWAYS_INLINE struct row_chunk row_chunk(void *data, int64_t inputs, int64_t rows, int64_t row) {
  const int64_t blocks = (inputs + block_inputs - 1) / block_inputs, first = row / chunk_rows * chunk_rows;
  const int64_t count = rows - first < chunk_rows ? (rows - first + 7) / 8 * 8 : chunk_rows;
  const size_t before = (size_t)first * (size_t)(blocks * block_groups) * row_group_bytes;
  return (struct row_chunk){(char *)quantized_row(data, blocks, rows) + before, count};
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

ALWAYS_INLINE float clear_last_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  bits &= ~3u;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// One block of a row, to its own place, and to the row's place in its chunk from `first_group` on.
ALWAYS_INLINE void quantize_block(const float *x, float scale, float largest_of_row, struct quantized_block *block,
                                  struct row_chunk chunk, int64_t first_group, int64_t row) {
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
    memset(block->doubled + first, 2 * multiplier, group_inputs);
    block->negated[group] = -multiplier * sum;
    block->negated[group + block_groups] = 0;
    const float step = clear_last_bits(scale * (float)multiplier);
    char *own = chunk.groups + (size_t)(first_group + group) * group_bytes(chunk);
    memcpy(own + row * group_inputs, block->values + first, group_inputs);
    int32_t *offsets = (int32_t *)(own + chunk.rows * group_inputs);
    float *steps = (float *)(offsets + chunk.rows);
    offsets[row] = float_bits - 128 * sum;
    steps[row] = step;
    steps[chunk.rows + row] = -12582912.0f * step;
  }
}

// Row number `index` of `rows`, to both its places in `data`.
ALWAYS_INLINE void quantize_row(const float *x, int64_t inputs, void *data, int64_t rows, int64_t index) {
  const int64_t blocks = (inputs + block_inputs - 1) / block_inputs;
  struct quantized_row *row = quantized_row(data, blocks, index);
  const struct row_chunk chunk = row_chunk(data, inputs, rows, index);
  const int64_t own_row = index % chunk_rows;
  const float most = largest(x, inputs);
  // Below that, the scale would leave the range of normal numbers: such a row is as good as zero.
  const float scale = most < 1e-30f ? 0.0f : most / (127.0f * 127.0f);
  row->scale = scale;
  if (scale == 0.0f) {
    memset(row->blocks, 0, (size_t)blocks * sizeof *row->blocks);
    for (int64_t group = 0; group < blocks * block_groups; group++) {
      char *own = chunk.groups + (size_t)group * group_bytes(chunk);
      memset(own + own_row * group_inputs, 0, group_inputs);
      for (int field = 0; field < 3; field++) memset(own + chunk.rows * (group_inputs + 4 * field) + 4 * own_row, 0, 4);
    }
    return;
  }
  for (int64_t block = 0; block < blocks; block++) {
    const int64_t left = inputs - block * block_inputs;
    float padded[block_inputs] = {0};
    const float *own = x + block * block_inputs;
    if (left < block_inputs) own = memcpy(padded, own, (size_t)left * sizeof(float));
    quantize_block(own, scale, most, &row->blocks[block], chunk, block * block_groups, own_row);
  }
}
