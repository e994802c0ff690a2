// What a linear layer takes, quantised as it is computed: values as they are, normed, or gated. Threads take rows in turn.
#pragma once
#include "activations.h"
#include "exponential.h"

ALWAYS_INLINE float *row_of(const struct ggml_tensor *x, int64_t row) {
  return (float *)((char *)x->data + (size_t)row * x->nb[1]);
}

// result: bytes enough for the rows, of any type; src[0]: activations [inputs, rows] f32.
ALWAYS_INLINE void quantize_plain(struct ggml_tensor *result, int thread, int threads) {
  const struct ggml_tensor *x = result->src[0];
  for (int64_t row = thread; row < x->ne[1]; row += threads) {
    quantize_row(row_of(x, row), x->ne[0], result->data, x->ne[1], row);
  }
}

// src[1]: scales [inputs] or [inputs, rows]; each row is divided by its root mean square first, `eps` added to the square.
ALWAYS_INLINE void quantize_normed(struct ggml_tensor *result, int thread, int threads, float eps) {
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
    quantize_row(values, inputs, result->data, x->ne[1], row);
  }
}

// src[0]: gates, src[1]: what they are put before, [inputs, rows] both: silu of the first times the second.
ALWAYS_INLINE void quantize_gated(struct ggml_tensor *result, int thread, int threads) {
  const struct ggml_tensor *gates = result->src[0];
  const int64_t inputs = gates->ne[0];
  float values[inputs];
  for (int64_t row = thread; row < gates->ne[1]; row += threads) {
    const float *gate = row_of(gates, row), *up = row_of(result->src[1], row);
    for (int64_t i = 0; i < inputs; i++) values[i] = gate[i] / (1.0f + exponential(-gate[i])) * up[i];
    quantize_row(values, inputs, result->data, gates->ne[1], row);
  }
}

// Defines the operations of a kernel, all compiled for the same instructions. `kindred_quantize_normed_NAME` takes the bits of eps as
// its user data.
#define LAYER_INPUT_KERNEL(NAME, TARGET)                                                                        \
  TARGET void kindred_quantize_##NAME(struct ggml_tensor *result, int thread, int threads, void *none) {        \
    (void)none;                                                                                                 \
    quantize_plain(result, thread, threads);                                                                    \
  }                                                                                                             \
  TARGET void kindred_quantize_normed_##NAME(struct ggml_tensor *result, int thread, int threads, void *bits) { \
    const uint32_t own = (uint32_t)(uintptr_t)bits;                                                             \
    float eps;                                                                                                  \
    memcpy(&eps, &own, sizeof eps);                                                                             \
    quantize_normed(result, thread, threads, eps);                                                              \
  }                                                                                                             \
  TARGET void kindred_quantize_gated_##NAME(struct ggml_tensor *result, int thread, int threads, void *none) {  \
    (void)none;                                                                                                 \
    quantize_gated(result, thread, threads);                                                                    \
  }
