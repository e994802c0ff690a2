// What drawing a token asks of all logits of a vocabulary.
#pragma once
#include <math.h>
#include <string.h>
#include "tensor.h"

// Sixteen maxima side by side, since compilers do not change the order of comparisons.
enum { maxima = 16 };

// The index of the largest value, the first of equals; NaN is never largest. 0 when there is no number.
ALWAYS_INLINE int64_t largest_at(const float *values, int64_t count) {
  float most[maxima], largest = -INFINITY;
  for (int lane = 0; lane < maxima; lane++) most[lane] = -INFINITY;
  int64_t i = 0;
  for (; i + maxima <= count; i += maxima)
    for (int lane = 0; lane < maxima; lane++) most[lane] = values[i + lane] > most[lane] ? values[i + lane] : most[lane];
  for (; i < count; i++) largest = values[i] > largest ? values[i] : largest;
  for (int lane = 0; lane < maxima; lane++) largest = most[lane] > largest ? most[lane] : largest;
  if (largest == -INFINITY) return 0;
  for (i = 0; i < count; i++)
    if (values[i] == largest) return i;
  return 0;
}

// e^((value - largest) / temperature), within 3e-10 of it in proportion; 0 where that exponent is below -45, and for NaN.
// e^x = 2^n · e^r with |r| ≤ ln 2 / 2. n is had by adding a number so large that the sum has room for whole numbers only: its last
// bits are n.
ALWAYS_INLINE void weigh(const float *values, int64_t count, double largest, double temperature, double *weights) {
  const double least = -45.0, whole = 0x1.8p52;
  for (int64_t i = 0; i < count; i++) {
    const double x = ((double)values[i] - largest) / temperature;
    const double limited = x > least ? x : least;
    const double shifted = limited * 0x1.71547652b82fep0 + whole, n = shifted - whole;
    const double r = limited - n * 0x1.62e42fefa39efp-1;
    double y = 1.0 / 40320;
    y = y * r + 1.0 / 5040;
    y = y * r + 1.0 / 720;
    y = y * r + 1.0 / 120;
    y = y * r + 1.0 / 24;
    y = y * r + 1.0 / 6;
    y = y * r + 0.5;
    y = y * r + 1.0;
    y = y * r + 1.0;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    weights[i] = x > least ? y * power : 0.0;
  }
}

ALWAYS_INLINE double sum_of(const double *values, int64_t count) {
  double sums[8] = {0}, rest = 0.0;
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int lane = 0; lane < 8; lane++) sums[lane] += values[i + lane];
  for (; i < count; i++) rest += values[i];
  for (int lane = 0; lane < 8; lane++) rest += sums[lane];
  return rest;
}

// Where a running sum of the weights passes part · their sum; the last that is not 0 if rounding keeps it from there. A running
// sum waits for each addition before it, so blocks are added up first, and one of them is walked through.
ALWAYS_INLINE int64_t pick(const double *weights, int64_t count, double part) {
  const double target = part * sum_of(weights, count);
  double reached = 0.0;
  int64_t last = 0;
  for (int64_t first = 0; first < count; first += 512) {
    const int64_t end = first + 512 < count ? first + 512 : count;
    const double block = sum_of(weights + first, end - first);
    if (reached + block <= target) {
      reached += block;
      if (block > 0.0) last = end - 1;
      continue;
    }
    for (int64_t i = first; i < end; i++) {
      reached += weights[i];
      if (reached > target) return i;
    }
    last = end - 1;
  }
  while (last > 0 && weights[last] == 0.0) last--;
  return last;
}

// How a row is drawn: of its first `words` logits the largest when the temperature is 0, else where a running sum of weights passes
// `part` of all. No words: not drawn.
struct draw {
  int64_t words;
  double temperature, part;
};

// result: tokens [rows] i32, and from the next multiple of 64 bytes on doubles for one row of logits a thread. src[0]: logits
// [vocabulary, rows] f32; src[1]: a `struct draw` for each row. Threads take rows in turn.
ALWAYS_INLINE void draw_rows(struct ggml_tensor *result, int thread, int threads) {
  const struct ggml_tensor *logits = result->src[0];
  const struct draw *draws = result->src[1]->data;
  const int64_t rows = logits->ne[1];
  int32_t *tokens = result->data;
  char *first = (char *)tokens + (((size_t)rows * sizeof *tokens + 63) & ~(size_t)63);
  double *weights = (double *)first + thread * logits->ne[0];
  for (int64_t row = thread; row < rows; row += threads) {
    const struct draw own = draws[row];
    if (own.words == 0) continue;
    const float *values = (const float *)((const char *)logits->data + (size_t)row * logits->nb[1]);
    tokens[row] = (int32_t)largest_at(values, own.words);
    if (own.temperature == 0.0) continue;
    weigh(values, own.words, values[tokens[row]], own.temperature, weights);
    tokens[row] = (int32_t)pick(weights, own.words, own.part);
  }
}

// Defines the functions of a kernel: `kindred_largest_NAME`, `kindred_weigh_NAME`, `kindred_pick_NAME`, and the
// operation `kindred_draw_NAME`.
#define LOGITS_KERNEL(NAME, TARGET)                                                                               \
  TARGET int64_t kindred_largest_##NAME(const float *values, int64_t count) { return largest_at(values, count); } \
  TARGET void kindred_weigh_##NAME(const float *values, int64_t count, double largest, double temperature,        \
                                   double *weights) {                                                             \
    weigh(values, count, largest, temperature, weights);                                                          \
  }                                                                                                               \
  TARGET int64_t kindred_pick_##NAME(const double *weights, int64_t count, double part) {                         \
    return pick(weights, count, part);                                                                            \
  }                                                                                                               \
  TARGET void kindred_draw_##NAME(struct ggml_tensor *result, int thread, int threads, void *none) {              \
    (void)none;                                                                                                   \
    draw_rows(result, thread, threads);                                                                           \
  }
