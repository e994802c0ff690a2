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

// Half a strip and four rows at a time, or their products and sums would not all stay in registers.
TARGET ALWAYS_INLINE void half_tile(const int rows, int adds, const uint16_t *scales, const uint8_t *weights, int64_t groups,
                                    struct row_tile x, struct row_span y, struct request request) {
  const __m256i middle = _mm256_set1_epi8((char)0x80), ones = _mm256_set1_epi16(1);
  __m256 sums[4];
  for (int row = 0; row < rows; row++) sums[row] = _mm256_setzero_ps();
  for (int64_t group = 0; group < groups; group++, scales += strip_outputs, weights += group_weights) {
    const char *values = tile_values(x, group);
    const float *steps = tile_numbers(x, group).steps;
    const __m256 scale = eight_halves(scales);
    ask_ahead(request, group);
    __m256i products[4];
    for (int row = 0; row < rows; row++) products[row] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int k = 0; k < group_inputs / 4; k++) {
      const __m256i four = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(weights + 64 * k)), middle);
      const __m256i size = _mm256_abs_epi8(four);
#pragma GCC unroll 4
      for (int row = 0; row < rows; row++) {
        const __m256i own = _mm256_set1_epi32(*(const int32_t *)(values + row * group_inputs + 4 * k));
        const __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(own, four));
        products[row] = _mm256_add_epi32(products[row], _mm256_madd_epi16(pairs, ones));
      }
    }
#pragma GCC unroll 4
    for (int row = 0; row < rows; row++) {
      const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(products[row]), _mm256_set1_ps(steps[row]));
      sums[row] = _mm256_fmadd_ps(product, scale, sums[row]);
    }
  }
#pragma GCC unroll 4
  for (int row = 0; row < rows; row++) {
    float *to = (float *)(y.first + row * y.bytes);
    _mm256_storeu_ps(to, adds ? _mm256_add_ps(_mm256_loadu_ps(to), sums[row]) : sums[row]);
  }
}

TARGET static void few_rows(int rows, int adds, const uint16_t *scales, const uint8_t *weights, int64_t groups, struct row_tile x,
                            struct row_span y, struct request request) {
  switch (rows) {
    case 1: half_tile(1, adds, scales, weights, groups, x, y, request); break;
    case 2: half_tile(2, adds, scales, weights, groups, x, y, request); break;
    case 3: half_tile(3, adds, scales, weights, groups, x, y, request); break;
    default: half_tile(4, adds, scales, weights, groups, x, y, request);
  }
}

TARGET static void tile(int rows, int adds, struct strip_pair pair, int64_t groups, struct row_tile x, struct row_span y,
                        struct request request) {
  for (int half = 0; half < (pair.y_apart > 0 ? 4 : 2); half++) {
    const struct strip strip = pair.strips[half / 2];
    const uint16_t *scales = strip.scales + half % 2 * strip_outputs / 2;
    const uint8_t *weights = strip.weights + half % 2 * 32;
    for (int first = 0; first < rows; first += 4) {
      char *to = y.first + half / 2 * pair.y_apart + half % 2 * strip_outputs / 2 * sizeof(float);
      const struct row_span own_y = {to + first * y.bytes, y.bytes};
      few_rows(rows - first, adds, scales, weights, groups, rows_from(x, first), own_y, request);
      request.lines_per_group = 0;
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
