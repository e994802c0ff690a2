// Sign planes by AVX2: an instruction looks up the sums of two quads for 16 outputs; a group's add up in 16 bits. As it keeps up with
// what memory delivers, processors with AVX-512 but without VBMI take it too.
#if defined(__x86_64__)
#include <immintrin.h>
#include "sign-planes.h"

#define TARGET __attribute__((target("avx2,fma,f16c")))

// Of outputs 0 … 7 and 8 … 15, each twice, by other quads.
struct group_sums {
  __m256i low, high;
};

TARGET ALWAYS_INLINE struct group_sums look_up_group(const uint8_t *signs, const int8_t (*entries)[quad_sums]) {
  const __m256i lower = _mm256_set1_epi8(15), ones = _mm256_set1_epi8(1);
  const __m256i *tables = (const __m256i *)entries;
  struct group_sums sums = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  const __m256i bytes[2] = {_mm256_loadu_si256((const __m256i *)signs), _mm256_loadu_si256((const __m256i *)signs + 1)};
  for (int half = 0; half < 2; half++) {
    __m256i found[2];
    for (int i = 0; i < 2; i++) {
      const __m256i places = _mm256_and_si256(half ? _mm256_srli_epi16(bytes[i], 4) : bytes[i], lower);
      found[i] = _mm256_shuffle_epi8(_mm256_loadu_si256(tables + 2 * half + i), places);
    }
    sums.low = _mm256_add_epi16(sums.low, _mm256_maddubs_epi16(ones, _mm256_unpacklo_epi8(found[0], found[1])));
    sums.high = _mm256_add_epi16(sums.high, _mm256_maddubs_epi16(ones, _mm256_unpackhi_epi8(found[0], found[1])));
  }
  return sums;
}

TARGET ALWAYS_INLINE void multiply_strip(struct sign_strip strip, int64_t blocks, const struct sign_tables *x, float *y) {
  __m256 sums[4];  // of four outputs each, twice
  for (int part = 0; part < 4; part++) sums[part] = _mm256_setzero_ps();
  for (int64_t block = 0; block < blocks; block++) {
    const struct sign_table_block *own = x->blocks + block;
    __m256i products[4];
    for (int part = 0; part < 4; part++) products[part] = _mm256_setzero_si256();
    for (int group = 0; group < block_groups; group += 2) {
      const uint8_t *signs = strip.signs + block * block_signs + group * group_signs;
      __builtin_prefetch(signs + prefetch_bytes);
      __builtin_prefetch(signs + prefetch_bytes + line_bytes);
      const struct group_sums one = look_up_group(signs, own->entries[group]);
      const struct group_sums two = look_up_group(signs + group_signs, own->entries[group + 1]);
      int32_t pair;
      memcpy(&pair, own->wide_multipliers + group, sizeof pair);
      const __m256i both = _mm256_set1_epi32(pair);
      const __m256i pairs[4] = {_mm256_unpacklo_epi16(one.low, two.low), _mm256_unpackhi_epi16(one.low, two.low),
                                _mm256_unpacklo_epi16(one.high, two.high), _mm256_unpackhi_epi16(one.high, two.high)};
      for (int part = 0; part < 4; part++) products[part] = _mm256_add_epi32(products[part], _mm256_madd_epi16(pairs[part], both));
    }
    for (int part = 0; part < 4; part++) {
      const __m128i halves = _mm_loadl_epi64((const __m128i *)(strip.scales + block * strip_outputs + 4 * part));
      const __m256 scales = _mm256_cvtph_ps(_mm_unpacklo_epi64(halves, halves));
      sums[part] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products[part]), scales, sums[part]);
    }
  }
  for (int part = 0; part < 4; part++) {
    const __m128 sum = _mm_add_ps(_mm256_castps256_ps128(sums[part]), _mm256_extractf128_ps(sums[part], 1));
    _mm_storeu_ps(y + 4 * part, _mm_fmadd_ps(_mm_set1_ps(x->step), sum, _mm_loadu_ps(y + 4 * part)));
  }
}

SIGN_PLANE_KERNEL(avx2, TARGET)
SIGN_PLANE_KERNEL(avx512vnni, TARGET)
#endif
