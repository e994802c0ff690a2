// Sums of activations, in tables: what products with signs look up.
//
// Four inputs, a quad, have 16 sums ±x ±x ±x ±x, one for each four signs, and these serve all outputs. Sums are rounded to 8 bits, not
// the inputs before: fewer roundings, each of a larger number. A row has one float step, each group of 32 inputs a whole multiplier:
//
//   sum ≈ step · multiplier[group] · entry         entry −127…127, multiplier 1…127
//
//   tables of a row, from a 64-byte boundary       0  step, f32       4  how many groups there are, i32
//                                                 64  blocks of four groups, the last filled up with zeros
//   block                                          0  16 entries of each quad, i8; bit i of an entry's place is 1 where input i is added
//                                                512  multiplier of each group, four times, u8     528  the same, 4 × i16
#pragma once
#include "activations.h"

enum { group_quads = group_inputs / 4, quad_sums = 16 };

struct sign_table_block {
  int8_t entries[block_groups][group_quads][quad_sums];
  uint8_t multipliers[block_groups][4];
  int16_t wide_multipliers[block_groups];
  char unused[40];
};

struct sign_tables {
  float step;
  int32_t groups;
  char unused[56];
  struct sign_table_block blocks[];
};

ALWAYS_INLINE size_t sign_tables_bytes(int64_t inputs) {
  const int64_t blocks = (inputs + block_inputs - 1) / block_inputs;
  return sizeof(struct sign_tables) + (size_t)blocks * sizeof(struct sign_table_block);
}

// The tables of the `index`-th row that has some, of `rows` quantised rows in all.
ALWAYS_INLINE char *tables_at(void *data, int64_t inputs, int64_t rows, int64_t index) {
  return (char *)quantized_rows(data) + quantized_bytes(inputs, rows) + (size_t)index * sign_tables_bytes(inputs);
}

// A row's tables in what is quantised, which says how many rows there are.
ALWAYS_INLINE const struct sign_tables *tables_of(const struct ggml_tensor *quantized, int64_t row) {
  const struct ggml_tensor *x = quantized->src[0];
  const int64_t first = quantized_rows(quantized->data)->first_tabled;
  return (const struct sign_tables *)tables_at(quantized->data, x->ne[0], x->ne[1], row - first);
}

// The largest sum of any quad of a group.
ALWAYS_INLINE float largest_sum(const float *x) {
  float pairs[group_inputs / 2], sums[group_quads];
  for (int i = 0; i < group_inputs / 2; i++) pairs[i] = fabsf(x[2 * i]) + fabsf(x[2 * i + 1]);
  for (int i = 0; i < group_quads; i++) sums[i] = pairs[2 * i] + pairs[2 * i + 1];
  return largest(sums, group_quads);
}

// The sums of a quad side by side, whatever instructions there are for them.
typedef float quad_floats __attribute__((vector_size(quad_sums * sizeof(float))));
typedef int32_t quad_bits __attribute__((vector_size(quad_sums * sizeof(int32_t))));
typedef int16_t quad_halves __attribute__((vector_size(quad_sums * sizeof(int16_t))));
typedef int8_t quad_entries __attribute__((vector_size(quad_sums)));

// The sums of a quad rounded: added to 1.5 · 2^23, numbers so small lose their fractions, and the lower bits are what is left.
ALWAYS_INLINE void tabulate_quad(const float *x, int8_t *entries) {
  const quad_floats first = {-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1};
  const quad_floats second = {-1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1};
  const quad_floats third = {-1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1};
  const quad_floats fourth = {-1, -1, -1, -1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1};
  const quad_floats sums = x[0] * first + x[1] * second + x[2] * third + x[3] * fourth + 0x1.8p23f;
  // In two steps, for which compilers know instructions.
  const quad_halves lower = __builtin_convertvector((quad_bits)sums, quad_halves);
  const quad_entries rounded = __builtin_convertvector(lower, quad_entries);
  memcpy(entries, &rounded, sizeof rounded);
}

ALWAYS_INLINE void tabulate_row(const float *x, int64_t inputs, struct sign_tables *tables) {
  const int64_t blocks = (inputs + block_inputs - 1) / block_inputs, groups = blocks * block_groups;
  float values[blocks * block_inputs], sums[groups];
  memcpy(values, x, (size_t)inputs * sizeof(float));
  memset(values + inputs, 0, (size_t)(blocks * block_inputs - inputs) * sizeof(float));
  for (int64_t group = 0; group < groups; group++) sums[group] = largest_sum(values + group * group_inputs);
  const float most = largest(sums, groups);
  tables->groups = (int32_t)groups_of(inputs);
  tables->step = scale_of_row(most);
  if (tables->step == 0.0f) {
    memset(tables->blocks, 0, (size_t)blocks * sizeof *tables->blocks);
    return;
  }
  const float one = 1.0f / tables->step;
  for (int64_t group = 0; group < groups; group++) {
    struct sign_table_block *block = &tables->blocks[group / block_groups];
    const int own = group % block_groups;
    const int32_t multiplier = multiplier_of_group(sums[group], most);
    const float inverse = one / (float)multiplier;
    memset(block->multipliers[own], multiplier, 4);
    block->wide_multipliers[own] = (int16_t)multiplier;
    for (int i = 0; i < group_inputs; i++) values[group * group_inputs + i] *= inverse;
  }
  for (int64_t group = 0; group < groups; group++) {
    int8_t(*entries)[quad_sums] = tables->blocks[group / block_groups].entries[group % block_groups];
#pragma GCC unroll 1
    for (int quad = 0; quad < group_quads; quad++) tabulate_quad(values + group * group_inputs + 4 * quad, entries[quad]);
  }
}
