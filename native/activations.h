// Activations in 8 bits.
//
// A row has one float scale, each group of 32 inputs an integer from 1 to 127 by which its values are to be multiplied as well:
//
//   activation ≈ scale · multiplier[group] · value        value −127…127
//
// A group's step is then as fine as if it had a float scale of its own (its largest value / 127, rounded up by at most scale). A
// product with 8-bit weights takes them unsigned, 128 too large, a group at a time: it starts from −128 · (sum of the group) and ends
// with a multiplication by the group's step. It is a whole number below 2^22, so when the bits of 1.5 · 2^23 are added to it they
// are those of a float that is so much larger: nothing is converted, and that much times the step is taken off in one operation.
//
// Rows lie in chunks, as products take them:
//
//   all, from a 64-byte boundary   0  which row has the first tables, i64     64  chunks of 64 rows, the last filled up to a multiple of 8;
//                                  then, from a 64-byte boundary, tables of some rows: see sign-tables.h
//   chunk                          a group of 32 inputs after the other, the last filled up with zeros
//   group                          of each row 32 values, i8; of each row an offset, i32: the bits of 1.5 · 2^23 and −128 · Σ value;
//                                  of each row its step, f32: scale · multiplier; of each row the rest, f32: −1.5 · 2^23 · step
#pragma once
#include <math.h>
#include <string.h>
#include "tensor.h"

enum { block_inputs = 128, group_inputs = 32, block_groups = 4, chunk_rows = 64, tile_rows_max = 8 };
enum { row_group_bytes = group_inputs + 3 * 4, float_bits = 0x4b400000 };

struct quantized_rows {
  int64_t first_tabled;
  char unused[56];
  char chunks[];
};

ALWAYS_INLINE int64_t groups_of(int64_t inputs) { return (inputs + group_inputs - 1) / group_inputs; }

ALWAYS_INLINE struct quantized_rows *quantized_rows(void *data) {
  return (struct quantized_rows *)(((uintptr_t)data + 63) & ~(uintptr_t)63);
}

// Up to where the tables begin.
ALWAYS_INLINE size_t quantized_bytes(int64_t inputs, int64_t rows) {
  const int64_t filled = (rows + tile_rows_max - 1) / tile_rows_max * tile_rows_max;
  const size_t bytes = sizeof(struct quantized_rows) + (size_t)(filled * groups_of(inputs)) * row_group_bytes;
  return (bytes + 63) & ~(size_t)63;
}

// A chunk of rows as base matrices take them.
struct row_chunk {
  char *groups;
  int64_t rows;  // filled up
};

ALWAYS_INLINE size_t group_bytes(struct row_chunk chunk) { return (size_t)chunk.rows * row_group_bytes; }

// The steps of a group's rows.
ALWAYS_INLINE float *group_steps(const char *group, struct row_chunk chunk) {
  return (float *)(group + (size_t)chunk.rows * (group_inputs + sizeof(int32_t)));
}

// The chunk of a row, of `rows` rows in all.
ALWAYS_INLINE struct row_chunk row_chunk(void *data, int64_t inputs, int64_t rows, int64_t row) {
  const int64_t first = row / chunk_rows * chunk_rows, left = rows - first;
  const int64_t count = left < chunk_rows ? (left + tile_rows_max - 1) / tile_rows_max * tile_rows_max : chunk_rows;
  return (struct row_chunk){quantized_rows(data)->chunks + (size_t)(first * groups_of(inputs)) * row_group_bytes, count};
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

// So that a step times 1.5 · 2^23 is a float.
ALWAYS_INLINE float clear_last_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  bits &= ~3u;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// The scale of a row whose largest value that is, so that multipliers end at 127. Below that bound it would leave the range of normal
// numbers: such a row is as good as zero.
ALWAYS_INLINE float scale_of_row(float largest_of_row) {
  return largest_of_row < 1e-30f ? 0.0f : largest_of_row / (127.0f * 127.0f);
}

// The multiplier of a group.
ALWAYS_INLINE int32_t multiplier_of_group(float largest_of_group, float largest_of_row) {
  const float part = ceilf(largest_of_group * (127.0f / largest_of_row));
  return part < 1.0f ? 1 : part > 127.0f ? 127 : (int32_t)part;
}

// Writes row `row` of a chunk's group.
ALWAYS_INLINE void quantize_group(const float *x, float scale, float largest_of_row, char *group, struct row_chunk chunk, int64_t row) {
  const int32_t multiplier = multiplier_of_group(largest(x, group_inputs), largest_of_row);
  const float inverse = 1.0f / scale / (float)multiplier, step = clear_last_bits(scale * (float)multiplier);
  int32_t values[group_inputs], sum = 0;
  for (int i = 0; i < group_inputs; i++) values[i] = (int32_t)rintf(x[i] * inverse);
  for (int i = 0; i < group_inputs; i++) sum += values[i];
  int8_t *own = (int8_t *)group + row * group_inputs;
  for (int i = 0; i < group_inputs; i++) own[i] = (int8_t)values[i];
  int32_t *offsets = (int32_t *)(group + chunk.rows * group_inputs);
  float *steps = group_steps(group, chunk);
  offsets[row] = float_bits - 128 * sum;
  steps[row] = step;
  steps[chunk.rows + row] = -12582912.0f * step;
}

// Row number `index` of `rows`.
ALWAYS_INLINE void quantize_row(const float *x, int64_t inputs, void *data, int64_t rows, int64_t index) {
  const struct row_chunk chunk = row_chunk(data, inputs, rows, index);
  const int64_t row = index % chunk_rows;
  const float most = largest(x, inputs);
  const float scale = scale_of_row(most);
  char *group = chunk.groups;
  for (int64_t first = 0; first < inputs; first += group_inputs, group += group_bytes(chunk)) {
    if (scale == 0.0f) {
      memset(group + row * group_inputs, 0, group_inputs);
      for (int field = 0; field < 3; field++) memset(group + chunk.rows * (group_inputs + 4 * field) + 4 * row, 0, 4);
      continue;
    }
    float padded[group_inputs] = {0};
    const float *own = x + first;
    if (inputs - first < group_inputs) own = memcpy(padded, own, (size_t)(inputs - first) * sizeof(float));
    quantize_group(own, scale, most, group, chunk, row);
  }
}
