// Base matrices by AVX-512 VNNI: one instruction multiplies four inputs of 16 outputs, and adds up.
#if defined(__x86_64__)
#include <immintrin.h>
#include "interleave.h"
#include "layer-inputs.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")))

TARGET ALWAYS_INLINE void tile(const int rows, int adds, struct strip strip, int64_t groups, struct row_span x,
                               struct row_span y) {
  __m512 sums[tile_rows_max];
  for (int row = 0; row < rows; row++) sums[row] = _mm512_setzero_ps();
  for (int64_t group = 0; group < groups; group++) {
    const struct group_place place = group_place(x, group);
    const __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(strip.scales + group * strip_outputs)));
    const uint8_t *weights = strip.weights + group * group_weights;
    __m512i products[tile_rows_max];
#pragma GCC unroll 8
    for (int row = 0; row < rows; row++) products[row] = _mm512_set1_epi32(*(const int32_t *)(place.offset + row * x.bytes));
#pragma GCC unroll 8
    for (int k = 0; k < group_inputs / 4; k++) {
      const __m512i four = _mm512_loadu_si512(weights + 64 * k);
      __builtin_prefetch(weights + 64 * k + prefetch_bytes);
#pragma GCC unroll 8
      for (int row = 0; row < rows; row++) {
        const __m512i own = _mm512_set1_epi32(*(const int32_t *)(place.values + row * x.bytes + 4 * k));
        products[row] = _mm512_dpbusd_epi32(products[row], four, own);
      }
    }
#pragma GCC unroll 8
    for (int row = 0; row < rows; row++) {
      const __m512 steps = _mm512_mul_ps(scale, _mm512_set1_ps(*(const float *)(place.step + row * x.bytes)));
      sums[row] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[row]), steps, sums[row]);
    }
  }
#pragma GCC unroll 8
  for (int row = 0; row < rows; row++) {
    float *to = (float *)(y.first + row * y.bytes);
    _mm512_storeu_ps(to, adds ? _mm512_add_ps(_mm512_loadu_ps(to), sums[row]) : sums[row]);
  }
}

BASE_MATRIX_KERNEL(avx512vnni, TARGET)
INTERLEAVE_KERNEL(avx512vnni, TARGET)
LAYER_INPUT_KERNEL(avx512vnni, TARGET)
#endif
