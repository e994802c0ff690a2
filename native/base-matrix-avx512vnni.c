// Base matrices by AVX-512 VNNI: one instruction multiplies four inputs of 16 outputs, and adds up.
#if defined(__x86_64__)
#include <immintrin.h>
#include "interleave.h"
#include "layer-inputs.h"
#include "merged-planes.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")))

TARGET ALWAYS_INLINE __m512 scales_of(struct strip strip, int64_t group) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(strip.scales + group * strip_outputs)));
}

// 16 products are under way for eight rows: one takes five cycles, and two begin in each.
TARGET ALWAYS_INLINE void tile(const int rows, int adds, struct strip_pair pair, int64_t groups, struct row_tile x,
                               struct row_span y, struct request request) {
  __m512 sums[tile_rows_max][2];
#pragma GCC unroll 8
  for (int row = 0; row < rows; row++) sums[row][0] = sums[row][1] = _mm512_setzero_ps();
  for (int64_t group = 0; group < groups; group++) {
    const char *values = tile_values(x, group);
    const struct row_numbers numbers = tile_numbers(x, group);
    const uint8_t *weights[2] = {pair.strips[0].weights + group * group_weights, pair.strips[1].weights + group * group_weights};
    ask_ahead(request, group);
    __m512i products[tile_rows_max][2];
#pragma GCC unroll 8
    for (int row = 0; row < rows; row++) products[row][0] = products[row][1] = _mm512_set1_epi32(numbers.offsets[row]);
#pragma GCC unroll 8
    for (int k = 0; k < group_inputs / 4; k++) {
      const __m512i left = _mm512_loadu_si512(weights[0] + 64 * k), right = _mm512_loadu_si512(weights[1] + 64 * k);
#pragma GCC unroll 8
      for (int row = 0; row < rows; row++) {
        const __m512i own = _mm512_set1_epi32(*(const int32_t *)(values + row * group_inputs + 4 * k));
        products[row][0] = _mm512_dpbusd_epi32(products[row][0], left, own);
        products[row][1] = _mm512_dpbusd_epi32(products[row][1], right, own);
      }
    }
    const __m512 left = scales_of(pair.strips[0], group), right = scales_of(pair.strips[1], group);
#pragma GCC unroll 8
    for (int row = 0; row < rows; row++) {
      const __m512 step = _mm512_set1_ps(numbers.steps[row]), rest = _mm512_set1_ps(numbers.rests[row]);
      sums[row][0] = _mm512_fmadd_ps(_mm512_fmadd_ps(_mm512_castsi512_ps(products[row][0]), step, rest), left, sums[row][0]);
      sums[row][1] = _mm512_fmadd_ps(_mm512_fmadd_ps(_mm512_castsi512_ps(products[row][1]), step, rest), right, sums[row][1]);
    }
  }
#pragma GCC unroll 8
  for (int row = 0; row < rows; row++) {
    float *left = (float *)(y.first + row * y.bytes), *right = (float *)((char *)left + pair.y_apart);
    if (adds) {
      sums[row][0] = _mm512_add_ps(sums[row][0], _mm512_loadu_ps(left));
      sums[row][1] = _mm512_add_ps(sums[row][1], _mm512_loadu_ps(right));
    }
    _mm512_storeu_ps(left, sums[row][0]);
    _mm512_storeu_ps(right, sums[row][1]);
  }
}

// A number of each output for both halves of its 32 bits: small ones, since numbers of 16 bits are 64 weights in two registers.
TARGET ALWAYS_INLINE __m512i in_both_halves(__m512 values) {
  const __m512i whole = _mm512_cvtps_epi32(values);
  return _mm512_or_si512(_mm512_and_si512(whole, _mm512_set1_epi32(0xffff)), _mm512_slli_epi32(whole, 16));
}

// Weights of even and of odd inputs are numbers of 16 bits, of which the upper byte is what becomes of them.
TARGET ALWAYS_INLINE void merge_planes(const int planes, struct strip strip, const struct sign_strip *strips, int64_t groups,
                                       struct merged_panel *to) {
  // An output's four bytes side by side: first 4 × 4 bytes of each four outputs, then each output's.
  const __m512i of_four = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i of_one = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const __m512i middle = _mm512_set1_epi8((char)0x80), upper = _mm512_set1_epi16((short)0xff00);
  const __m512i first_bytes = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12));
  for (int64_t group = 0; group < groups; group++) {
    const __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(strip.scales + group * strip_outputs)));
    __m512 sum = _mm512_mul_ps(scale, _mm512_set1_ps(138.0f)), own[merged_planes_max];
    __m512i signs[merged_planes_max], twice[merged_planes_max];
#pragma GCC unroll 4
    for (int plane = 0; plane < planes; plane++) {
      const uint16_t *scales = strips[plane].scales + group / block_groups * strip_outputs;
      own[plane] = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)scales));
      const __m512i bytes = _mm512_loadu_si512(strips[plane].signs + group * group_signs);
      signs[plane] = _mm512_shuffle_epi8(_mm512_permutexvar_epi32(of_four, bytes), of_one);
      sum = _mm512_add_ps(sum, _mm512_abs_ps(own[plane]));
    }
    const __m256i half = _mm512_cvtps_ph(_mm512_div_ps(sum, _mm512_set1_ps(127.0f)), _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
    _mm256_storeu_si256((__m256i *)(to->scales + group * strip_outputs), half);
    const __m512 merged = _mm512_cvtph_ps(half);
    const __mmask16 any = _mm512_cmp_ps_mask(merged, _mm512_setzero_ps(), _CMP_GT_OQ);
    const __m512 inverse = _mm512_maskz_div_ps(any, _mm512_set1_ps(1.0f), merged);
    const __m512i shrink = in_both_halves(_mm512_mul_ps(_mm512_mul_ps(scale, inverse), _mm512_set1_ps(32768.0f)));
    // All signs minus, half for rounding, and 128 more as strips have it; sums may wrap around on their way.
    __m512i start = _mm512_set1_epi16((short)(0x8000 + 128));
#pragma GCC unroll 4
    for (int plane = 0; plane < planes; plane++) {
      const __m512i step = in_both_halves(_mm512_mul_ps(_mm512_mul_ps(own[plane], inverse), _mm512_set1_ps(256.0f)));
      start = _mm512_sub_epi16(start, step);
      twice[plane] = _mm512_add_epi16(step, step);
    }
#pragma GCC unroll 8
    for (int k = 0; k < group_inputs / 4; k++) {
      const __m512i four = _mm512_xor_si512(_mm512_loadu_si512(strip.weights + group * group_weights + 64 * k), middle);
      __m512i even = _mm512_add_epi16(_mm512_mulhrs_epi16(_mm512_slli_epi16(four, 8), shrink), start);
      __m512i odd = _mm512_add_epi16(_mm512_mulhrs_epi16(_mm512_and_si512(four, upper), shrink), start);
#pragma GCC unroll 4
      for (int plane = 0; plane < planes; plane++) {
        // The byte that has the signs of these four inputs, everywhere in its 32 bits.
        const __m512i byte = _mm512_shuffle_epi8(signs[plane], _mm512_add_epi8(first_bytes, _mm512_set1_epi8((char)(k % 4))));
        const int of_even = 0x40001 << k / 4 * 4, of_odd = of_even << 1;
        even = _mm512_mask_add_epi16(even, _mm512_test_epi16_mask(byte, _mm512_set1_epi32(of_even)), even, twice[plane]);
        odd = _mm512_mask_add_epi16(odd, _mm512_test_epi16_mask(byte, _mm512_set1_epi32(of_odd)), odd, twice[plane]);
      }
      const __m512i both = _mm512_or_si512(_mm512_srli_epi16(even, 8), _mm512_and_si512(odd, upper));
      _mm512_store_si512(to->weights + group * group_weights + 64 * k, both);
    }
  }
}

TARGET static void merge(int planes, struct strip strip, const struct sign_strip *signs, int64_t groups, struct merged_panel *to) {
  switch (planes) {
    case 1: merge_planes(1, strip, signs, groups, to); break;
    case 2: merge_planes(2, strip, signs, groups, to); break;
    case 3: merge_planes(3, strip, signs, groups, to); break;
    default: merge_planes(4, strip, signs, groups, to);
  }
}

BASE_MATRIX_KERNEL(avx512vnni, TARGET)
MERGED_PLANES_KERNEL(avx512vnni, TARGET)
INTERLEAVE_KERNEL(avx512vnni, TARGET)
LAYER_INPUT_KERNEL(avx512vnni, TARGET)
#endif
