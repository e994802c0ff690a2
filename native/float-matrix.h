// The base's matrices in 16-bit floats, 16 outputs side by side, and their products with activations in 32 bits.
//
//   matrix    strips of 16 outputs, one after the other; as many bytes as the rows that they are made of
//   strip     of each input 16 × f16 or bf16, one an output
//
// Products are sums in 32 bits of what is multiplied in 32 bits: nothing is rounded but the sums.
//
// A template, over the registers of floats.h: a strip is one or several of them. Who includes it says first
//
//   float_rows_max  rows whose sums all stay in registers, at most tile_rows_max
//   float_chains    sums that each output has, of every so-manieth input: one alone would wait for itself
#pragma once
#include "base-matrix.h"
#include "floats.h"

enum { type_bf16 = 30, strip_parts = strip_outputs / lanes };

// Inputs that are taken together: a strip's weights for them stay in the first cache while all rows of a chunk go by.
enum { panel_inputs = 512 };

// A register of a strip's weights, from the `at`-th on. Strips of f32 are what is merged, see merged-floats.h.
TARGET ALWAYS_INLINE vec strip_weights(const int type, const void *strip, int64_t at) {
  if (type == type_bf16) return from_brains((const uint16_t *)strip + at);
  if (type == type_f16) return from_halves((const uint16_t *)strip + at);
  return load((const float *)strip + at);
}

// Multiplies `inputs` inputs of a strip with `rows` rows, at most float_rows_max, and writes the products to y, or adds them.
TARGET ALWAYS_INLINE void float_tile(const int rows, const int type, int adds, const void *strip, int64_t inputs, struct row_span x,
                                     struct row_span y) {
  vec sum[float_chains][tile_rows_max][strip_parts];
#pragma GCC unroll 8
  for (int chain = 0; chain < float_chains; chain++) {
#pragma GCC unroll 8
    for (int row = 0; row < rows; row++) {
#pragma GCC unroll 4
      for (int own = 0; own < strip_parts; own++) sum[chain][row][own] = splat(0.0f);
    }
  }
  for (int64_t k = 0; k < inputs; k += float_chains) {
    if (type != type_f32) __builtin_prefetch((const uint16_t *)strip + k * strip_outputs + prefetch_bytes / 2);
#pragma GCC unroll 8
    for (int chain = 0; chain < float_chains; chain++) {
      vec weights[strip_parts];
#pragma GCC unroll 4
      for (int own = 0; own < strip_parts; own++) {
        weights[own] = strip_weights(type, strip, (k + chain) * strip_outputs + own * lanes);
      }
#pragma GCC unroll 8
      for (int row = 0; row < rows; row++) {
        const vec value = splat(((const float *)(x.first + row * x.bytes))[k + chain]);
#pragma GCC unroll 4
        for (int own = 0; own < strip_parts; own++) sum[chain][row][own] = multiply_add(weights[own], value, sum[chain][row][own]);
      }
    }
  }
#pragma GCC unroll 8
  for (int row = 0; row < rows; row++) {
#pragma GCC unroll 4
    for (int own = 0; own < strip_parts; own++) {
      vec all = sum[0][row][own];
#pragma GCC unroll 8
      for (int chain = 1; chain < float_chains; chain++) all = add(all, sum[chain][row][own]);
      float *to = (float *)(y.first + row * y.bytes) + own * lanes;
      store(to, adds ? add(all, load(to)) : all);
    }
  }
}

// Any number of rows, in tiles as equal as may be. The number is known where a tile is compiled, so that all sums stay in
// registers; tiles that there are no registers for are not.
TARGET ALWAYS_INLINE void float_tiles(int64_t rows, const int type, int adds, const void *strip, int64_t inputs, struct row_span x,
                                      struct row_span y) {
  for (int64_t row = 0, own; row < rows; row += own) {
    const int64_t left = rows - row, tiles = (left + float_rows_max - 1) / float_rows_max;
    const struct row_span own_x = {x.first + row * x.bytes, x.bytes}, own_y = {y.first + row * y.bytes, y.bytes};
    own = (left + tiles - 1) / tiles;
    switch (own) {
      case 1: float_tile(1, type, adds, strip, inputs, own_x, own_y); break;
      case 2: float_tile(2, type, adds, strip, inputs, own_x, own_y); break;
      case 3: if (float_rows_max >= 3) float_tile(3, type, adds, strip, inputs, own_x, own_y); break;
      case 4: if (float_rows_max >= 4) float_tile(4, type, adds, strip, inputs, own_x, own_y); break;
      case 5: if (float_rows_max >= 5) float_tile(5, type, adds, strip, inputs, own_x, own_y); break;
      case 6: if (float_rows_max >= 6) float_tile(6, type, adds, strip, inputs, own_x, own_y); break;
      case 7: if (float_rows_max >= 7) float_tile(7, type, adds, strip, inputs, own_x, own_y); break;
      default: if (float_rows_max >= 8) float_tile(8, type, adds, strip, inputs, own_x, own_y);
    }
  }
}

// result: y [outputs of all matrices, rows] f32, from src[0] in place if it adds; then activations [inputs, rows] f32; then the matrices
// [inputs, own outputs] of one type, whose products lie side by side in y. Rows before `first_row` are left as they are. Threads take
// strips, so no two write to one place; a chunk of rows stays in the second cache while all strips go by.
TARGET ALWAYS_INLINE void multiply_floats(struct ggml_tensor *result, int thread, int threads, const int type, int adds, int64_t first_row) {
  const struct ggml_tensor *x = result->src[adds];
  const int64_t rows = result->ne[1], inputs = x->ne[0], strips = result->ne[0] / strip_outputs;
  const int64_t begin = strips * thread / threads, end = strips * (thread + 1) / threads;
  for (int64_t chunk = first_row; chunk < rows; chunk += chunk_rows) {
    const int64_t count = rows - chunk < chunk_rows ? rows - chunk : chunk_rows;
    const char *own_x = (const char *)x->data + (size_t)chunk * x->nb[1];
    struct ggml_tensor *const *matrix = &result->src[adds + 1];
    int64_t before = 0;  // strips of earlier matrices
    for (int64_t index = begin; index < end; index++) {
      while (index - before >= (*matrix)->ne[1] / strip_outputs) before += (*matrix++)->ne[1] / strip_outputs;
      const uint16_t *strip = (const uint16_t *)(*matrix)->data + (index - before) * strip_outputs * inputs;
      char *y = (char *)result->data + (size_t)chunk * result->nb[1] + (size_t)index * strip_outputs * sizeof(float);
      for (int64_t k = 0; k < inputs; k += panel_inputs) {
        const int64_t panel = inputs - k < panel_inputs ? inputs - k : panel_inputs;
        const struct row_span panel_x = {(char *)own_x + (size_t)k * sizeof(float), x->nb[1]};
        float_tiles(count, type, adds || k > 0, strip + k * strip_outputs, panel, panel_x, (struct row_span){y, result->nb[1]});
      }
    }
  }
}

// result: [inputs, rows] f32; src[0]: a matrix; src[1]: for each row an output of it, i32. Threads take rows in turn.
TARGET ALWAYS_INLINE void look_up_floats(struct ggml_tensor *result, int thread, int threads) {
  const struct ggml_tensor *matrix = result->src[0];
  const int32_t *outputs = result->src[1]->data;
  const int64_t inputs = matrix->ne[0];
  for (int64_t row = thread; row < result->ne[1]; row += threads) {
    const int64_t strip = outputs[row] / strip_outputs, lane = outputs[row] % strip_outputs;
    const uint16_t *from = (const uint16_t *)matrix->data + strip * strip_outputs * inputs + lane;
    float *to = (float *)((char *)result->data + (size_t)row * result->nb[1]);
    for (int64_t k = 0; k < inputs; k++) {
      const uint32_t bits = (uint32_t)from[k * strip_outputs] << 16;
      if (matrix->type == type_bf16) memcpy(to + k, &bits, sizeof bits);
      else to[k] = kindred_halves[from[k * strip_outputs]];
    }
  }
}

// Rows of 16-bit floats to strips, a few inputs at a time, so that what is written stays in the first cache.
TARGET ALWAYS_INLINE void interleave_floats(uint16_t *to, const uint16_t *from, int64_t inputs, int64_t outputs) {
  for (int64_t first = 0; first < outputs; first += strip_outputs, to += strip_outputs * inputs, from += strip_outputs * inputs) {
    for (int64_t k = 0; k < inputs; k += group_inputs) {
      const int64_t end = inputs - k < group_inputs ? inputs : k + group_inputs;
      for (int lane = 0; lane < strip_outputs; lane++) {
        for (int64_t i = k; i < end; i++) to[i * strip_outputs + lane] = from[lane * inputs + i];
      }
    }
  }
}

// Defines the operations of a kernel, `kindred_multiply_floats_NAME` and `kindred_look_up_floats_NAME`, and `kindred_interleave_floats_NAME`.
// The first takes as its user data whether it adds, 1 or 0, and above 32 bits the first row.
#define FLOAT_MATRIX_KERNEL(NAME)                                                                                  \
  TARGET void kindred_multiply_floats_##NAME(struct ggml_tensor *result, int thread, int threads, void *place) {    \
    const uint64_t own = (uint64_t)(uintptr_t)place;                                                               \
    const int adds = own & 1;                                                                                      \
    if (result->src[adds + 1]->type == type_bf16)                                                            \
      multiply_floats(result, thread, threads, type_bf16, adds, (int64_t)(own >> 32));                       \
    else multiply_floats(result, thread, threads, type_f16, adds, (int64_t)(own >> 32));                     \
  }                                                                                                                \
  TARGET void kindred_look_up_floats_##NAME(struct ggml_tensor *result, int thread, int threads, void *none) {     \
    (void)none;                                                                                                    \
    look_up_floats(result, thread, threads);                                                                       \
  }                                                                                                                \
  TARGET void kindred_interleave_floats_##NAME(void *to, const void *from, int64_t inputs, int64_t outputs) {      \
    interleave_floats(to, from, inputs, outputs);                                                                  \
  }
