// Sign planes by AVX-512 VBMI: one instruction looks up the sums of four quads for 16 outputs, and another multiplies them with their
// group's multiplier and adds up.
#if defined(__x86_64__)
#include <immintrin.h>
#include "sign-planes.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi,avx2,fma,f16c")))

// An output's bytes side by side, and the place of each one's table in 64 bytes.
static const uint8_t by_output[64] = {0, 16, 32, 48, 1, 17, 33, 49, 2,  18, 34, 50, 3,  19, 35, 51, 4,  20, 36, 52, 5,  21,
                                      37, 53, 6, 22, 38, 54, 7, 23, 39, 55, 8,  24, 40, 56, 9,  25, 41, 57, 10, 26, 42, 58,
                                      11, 27, 43, 59, 12, 28, 44, 60, 13, 29, 45, 61, 14, 30, 46, 62, 15, 31, 47, 63};

// (places & lower) | tables
enum { masked_or = 0xea };

TARGET ALWAYS_INLINE void multiply_strip(struct sign_strip strip, int64_t blocks, const struct sign_tables *x, float *y) {
  const __m512i order = _mm512_loadu_si512(by_output), lower = _mm512_set1_epi8(15), tables = _mm512_set1_epi32(0x30201000);
  __m512 sum = _mm512_setzero_ps();
  for (int64_t block = 0; block < blocks; block++) {
    const struct sign_table_block *own = x->blocks + block;
    __m512i first = _mm512_setzero_si512(), second = first;
#pragma GCC unroll 4
    for (int group = 0; group < block_groups; group++) {
      const uint8_t *signs = strip.signs + block * block_signs + group * group_signs;
      __builtin_prefetch(signs + prefetch_bytes);
      const __m512i bytes = _mm512_permutexvar_epi8(order, _mm512_loadu_si512(signs));
      const __m512i near = _mm512_ternarylogic_epi32(bytes, lower, tables, masked_or);
      const __m512i far = _mm512_ternarylogic_epi32(_mm512_srli_epi16(bytes, 4), lower, tables, masked_or);
      int32_t multiplier;
      memcpy(&multiplier, own->multipliers[group], sizeof multiplier);
      const __m512i fourfold = _mm512_set1_epi32(multiplier);
      first = _mm512_dpbusd_epi32(first, fourfold, _mm512_permutexvar_epi8(near, _mm512_loadu_si512(own->entries[group][0])));
      second = _mm512_dpbusd_epi32(second, fourfold, _mm512_permutexvar_epi8(far, _mm512_loadu_si512(own->entries[group][4])));
    }
    const __m512 scales = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(strip.scales + block * strip_outputs)));
    sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(first, second)), scales, sum);
  }
  _mm512_storeu_ps(y, _mm512_fmadd_ps(_mm512_set1_ps(x->step), sum, _mm512_loadu_ps(y)));
}

SIGN_PLANE_KERNEL(avx512vbmi, TARGET)
#endif
