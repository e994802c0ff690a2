// Sign planes by AVX-512 VNNI: the 64 signs of half a block are a mask, which keeps the multipliers of inputs whose sign is plus,
// and one instruction multiplies them with the inputs and adds up.
#if defined(__x86_64__)
#include <immintrin.h>
#include "sign-planes.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")))

TARGET ALWAYS_INLINE __m512i block_product(const struct sign_block *weights, const struct quantized_block *x) {
  uint64_t low, high;
  memcpy(&low, weights->signs, 8);
  memcpy(&high, weights->signs + 8, 8);
  const __m512i start = _mm512_zextsi256_si512(_mm256_loadu_si256((const __m256i *)x->negated));
  const __m512i half = _mm512_dpbusd_epi32(
      start, _mm512_maskz_mov_epi8(low, _mm512_loadu_si512(x->doubled)), _mm512_loadu_si512(x->values));
  return _mm512_dpbusd_epi32(
      half, _mm512_maskz_mov_epi8(high, _mm512_loadu_si512(x->doubled + 64)), _mm512_loadu_si512(x->values + 64));
}

TARGET ALWAYS_INLINE __m512 scale_of(const struct sign_block *weights) {
  return _mm512_set1_ps(kindred_halves[weights->scale]);
}

TARGET ALWAYS_INLINE void one_output(const struct sign_block *output, int64_t blocks, const struct quantized_row *x,
                                     float *y) {
  __m512 sum = _mm512_setzero_ps();
  for (int64_t b = 0; b < blocks; b++) {
    const __m512 product = _mm512_cvtepi32_ps(block_product(output + b, x->blocks + b));
    sum = _mm512_fmadd_ps(product, scale_of(output + b), sum);
  }
  *y += x->scale * _mm512_reduce_add_ps(sum);
}

TARGET ALWAYS_INLINE void four_outputs(const struct sign_block *outputs, int64_t blocks, const struct quantized_row *x,
                                       float *y) {
  const struct sign_block *w0 = outputs, *w1 = w0 + blocks, *w2 = w1 + blocks, *w3 = w2 + blocks;
  __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
  for (size_t at = 0; at < tile_outputs * (size_t)blocks * sizeof *outputs; at += line_bytes) {
    __builtin_prefetch((const char *)outputs + at + prefetch_bytes);
  }
  for (int64_t b = 0; b < blocks; b++) {
    const struct quantized_block *own = x->blocks + b;
    s0 = _mm512_fmadd_ps(_mm512_cvtepi32_ps(block_product(w0 + b, own)), scale_of(w0 + b), s0);
    s1 = _mm512_fmadd_ps(_mm512_cvtepi32_ps(block_product(w1 + b, own)), scale_of(w1 + b), s1);
    s2 = _mm512_fmadd_ps(_mm512_cvtepi32_ps(block_product(w2 + b, own)), scale_of(w2 + b), s2);
    s3 = _mm512_fmadd_ps(_mm512_cvtepi32_ps(block_product(w3 + b, own)), scale_of(w3 + b), s3);
  }
  // Pairs, then fours, then across the register: the four sums end up side by side.
  const __m512 low = _mm512_add_ps(_mm512_unpacklo_ps(s0, s1), _mm512_unpackhi_ps(s0, s1));
  const __m512 high = _mm512_add_ps(_mm512_unpacklo_ps(s2, s3), _mm512_unpackhi_ps(s2, s3));
  const __m512 all = _mm512_add_ps(_mm512_shuffle_ps(low, high, 0x44), _mm512_shuffle_ps(low, high, 0xee));
  const __m512 upper = _mm512_shuffle_f32x4(all, all, 0xee);
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_castps512_ps256(upper));
  const __m128 sums = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  _mm_storeu_ps(y, _mm_fmadd_ps(_mm_set1_ps(x->scale), sums, _mm_loadu_ps(y)));
}

SIGN_PLANE_KERNEL(avx512vnni, TARGET)
#endif
