// Base matrices by AVX2: the weights' signs go over to the inputs, so that pairs of products fit 16 bits.
#if defined(__x86_64__)
#include <immintrin.h>
#include "interleave.h"
#include "layer-inputs.h"
#include "merged-planes.h"

#define TARGET __attribute__((target("avx2,fma,f16c")))

TARGET ALWAYS_INLINE __m256 eight_halves(const uint16_t *halves) {
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)halves));
}

// Half a strip at a time: sums of eight outputs fill a register, and there are 16 of them.
TARGET ALWAYS_INLINE void half_tile(const int rows, int adds, const uint16_t *scales, const uint8_t *weights, int64_t groups,
                                    struct row_span x, struct row_span y) {
  const __m256i middle = _mm256_set1_epi8((char)0x80), ones = _mm256_set1_epi16(1);
  __m256 sums[tile_rows_max];
  for (int row = 0; row < rows; row++) sums[row] = _mm256_setzero_ps();
  for (int64_t group = 0; group < groups; group++, scales += strip_outputs, weights += group_weights) {
    const struct group_place place = group_place(x, group);
    const __m256 scale = eight_halves(scales);
    __m256i products[tile_rows_max];
    for (int row = 0; row < rows; row++) products[row] = _mm256_setzero_si256();
    for (int k = 0; k < group_inputs / 4; k++) {
      const __m256i four = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(weights + 64 * k)), middle);
      const __m256i size = _mm256_abs_epi8(four);
#pragma GCC unroll 8
      for (int row = 0; row < rows; row++) {
        const __m256i own = _mm256_set1_epi32(*(const int32_t *)(place.values + row * x.bytes + 4 * k));
        const __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(own, four));
        products[row] = _mm256_add_epi32(products[row], _mm256_madd_epi16(pairs, ones));
      }
    }
#pragma GCC unroll 8
    for (int row = 0; row < rows; row++) {
      const __m256 steps = _mm256_mul_ps(scale, _mm256_set1_ps(*(const float *)(place.step + row * x.bytes)));
      sums[row] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products[row]), steps, sums[row]);
    }
  }
  for (int row = 0; row < rows; row++) {
    float *to = (float *)(y.first + row * y.bytes);
    _mm256_storeu_ps(to, adds ? _mm256_add_ps(_mm256_loadu_ps(to), sums[row]) : sums[row]);
  }
}

TARGET ALWAYS_INLINE void few_rows(const int rows, int adds, struct strip strip, int64_t groups, struct row_span x,
                                   struct row_span y) {
  const struct row_span right = {y.first + strip_outputs / 2 * sizeof(float), y.bytes};
  half_tile(rows, adds, strip.scales, strip.weights, groups, x, y);
  half_tile(rows, adds, strip.scales + strip_outputs / 2, strip.weights + 32, groups, x, right);
}

// Four rows at a time, or their products and sums would not all stay in registers.
TARGET static void tile(int rows, int adds, struct strip strip, int64_t groups, struct row_span x, struct row_span y) {
  for (int first = 0; first < rows; first += 4) {
    const struct row_span own_x = {x.first + first * x.bytes, x.bytes}, own_y = {y.first + first * y.bytes, y.bytes};
    switch (rows - first) {
      case 1: few_rows(1, adds, strip, groups, own_x, own_y); break;
      case 2: few_rows(2, adds, strip, groups, own_x, own_y); break;
      case 3: few_rows(3, adds, strip, groups, own_x, own_y); break;
      default: few_rows(4, adds, strip, groups, own_x, own_y);
    }
  }
}

TARGET static void merge(int planes, struct strip strip, const struct sign_strip *signs, int64_t groups, struct merged_panel *to) {
  switch (planes) {
    case 1: merge_plainly(1, strip, signs, groups, to); break;
    case 2: merge_plainly(2, strip, signs, groups, to); break;
    default: merge_plainly(planes, strip, signs, groups, to);
  }
}

BASE_MATRIX_KERNEL(avx2, TARGET)
MERGED_PLANES_KERNEL(avx2, TARGET)
INTERLEAVE_KERNEL(avx2, TARGET)
LAYER_INPUT_KERNEL(avx2, TARGET)
#endif
