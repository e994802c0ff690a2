// What a linear layer takes, quantised as it is computed: values as they are, normed, or gated. Threads take rows in turn.
//
// Some rows, side by side, get tables of sums as well, which lie behind all rows: as many as the result has room for.
#pragma once
#include "activations.h"
#include "exponential.h"
#include "sign-tables.h"

// Writes one of the result's rows, and its tables if it is to have some.
ALWAYS_INLINE void write_row(struct ggml_tensor *result, const float *x, int64_t inputs, int64_t row, int64_t first_tabled) {
  const int64_t rows = result->src[0]->ne[1];
  const size_t table_bytes = sign_tables_bytes(inputs);
  const int64_t tabled = (int64_t)(((size_t)result->ne[0] * sizeof(float) - 64 - quantized_bytes(inputs, rows)) / table_bytes);
  if (row == 0) quantized_rows(result->data)->first_tabled = first_tabled;
  quantize_row(x, inputs, result->data, rows, row);
  if (row >= first_tabled && row < first_tabled + tabled) {
    tabulate_row(x, inputs, (struct sign_tables *)tables_at(result->data, inputs, rows, row - first_tabled));
  }
}

ALWAYS_INLINE float *row_of(const struct ggml_tensor *x, int64_t row) {
  return (float *)((char *)x->data + (size_t)row * x->nb[1]);
}

// result: f32 in name only, as many bytes as `kindred_quantized_bytes` says; src[0]: activations [inputs, rows] f32.
ALWAYS_INLINE void quantize_plain(struct ggml_tensor *result, int thread, int threads, int64_t first_tabled) {
  const struct ggml_tensor *x = result->src[0];
  for (int64_t row = thread; row < x->ne[1]; row += threads) {
    write_row(result, row_of(x, row), x->ne[0], row, first_tabled);
  }
}

// src[1]: scales [inputs] or [inputs, rows]; each row is divided by its root mean square first, `eps` added to the square.
ALWAYS_INLINE void quantize_normed(struct ggml_tensor *result, int thread, int threads, int64_t first_tabled, float eps) {
  const struct ggml_tensor *x = result->src[0], *scales = result->src[1];
  const int64_t inputs = x->ne[0];
  float values[inputs];
  for (int64_t row = thread; row < x->ne[1]; row += threads) {
    const float *own = row_of(x, row), *scale = row_of(scales, scales->ne[1] > 1 ? row : 0);
    float sums[16] = {0}, sum = 0.0f;
    int64_t i = 0;
    for (; i + 16 <= inputs; i += 16) {
      for (int lane = 0; lane < 16; lane++) sums[lane] += own[i + lane] * own[i + lane];
    }
    for (; i < inputs; i++) sum += own[i] * own[i];
    for (int lane = 0; lane < 16; lane++) sum += sums[lane];
    const float factor = 1.0f / sqrtf(sum / (float)inputs + eps);
    for (i = 0; i < inputs; i++) values[i] = own[i] * factor * scale[i];
    write_row(result, values, inputs, row, first_tabled);
  }
}

// src[0]: gates, src[1]: what they are put before, [inputs, rows] both: silu of the first times the second.
ALWAYS_INLINE void quantize_gated(struct ggml_tensor *result, int thread, int threads, int64_t first_tabled) {
  const struct ggml_tensor *gates = result->src[0];
  const int64_t inputs = gates->ne[0];
  float values[inputs];
  for (int64_t row = thread; row < gates->ne[1]; row += threads) {
    const float *gate = row_of(gates, row), *up = row_of(result->src[1], row);
    for (int64_t i = 0; i < inputs; i++) values[i] = gate[i] / (1.0f + exponential(-gate[i])) * up[i];
    write_row(result, values, inputs, row, first_tabled);
  }
}

ALWAYS_INLINE int64_t first_tabled_of(void *place) { return (int64_t)((uint64_t)(uintptr_t)place >> 32); }

// Defines the operations of a kernel, all compiled for the same instructions. Their user data is, above 32 bits, the first row that gets
// tables; `kindred_quantize_normed_NAME` takes the bits of eps in the lower half.
#define LAYER_INPUT_KERNEL(NAME, TARGET)                                                                         \
  TARGET void kindred_quantize_##NAME(struct ggml_tensor *result, int thread, int threads, void *place) {        \
    quantize_plain(result, thread, threads, first_tabled_of(place));                                             \
  }                                                                                                              \
  TARGET void kindred_quantize_normed_##NAME(struct ggml_tensor *result, int thread, int threads, void *place) { \
    const uint32_t bits = (uint32_t)(uintptr_t)place;                                                            \
    float eps;                                                                                                   \
    memcpy(&eps, &bits, sizeof eps);                                                                             \
    quantize_normed(result, thread, threads, first_tabled_of(place), eps);                                       \
  }                                                                                                              \
  TARGET void kindred_quantize_gated_##NAME(struct ggml_tensor *result, int thread, int threads, void *place) {  \
    quantize_gated(result, thread, threads, first_tabled_of(place));                                             \
  }
