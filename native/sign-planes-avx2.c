// Sign planes by AVX2: what a sign is minus is blanked out, pairs of values are added in 16 bits and multiplied there.
#if defined(__x86_64__)
#include <immintrin.h>
#include "sign-planes.h"

#define TARGET __attribute__((target("avx2,fma")))

// All ones in each byte whose bit of the 32 is 1.
TARGET ALWAYS_INLINE __m256i spread_signs(const uint8_t *signs) {
  const __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit_of = _mm256_set1_epi64x((long long)0x8040201008040201);
  int32_t bits;
  memcpy(&bits, signs, sizeof bits);
  const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), byte_of);
  return _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit_of), bit_of);
}

TARGET ALWAYS_INLINE __m256 block_product(const struct sign_block *weights, const struct quantized_block *x) {
  const __m256i *values = (const __m256i *)x->values;
  __m256i sum = _mm256_loadu_si256((const __m256i *)x->negated);
  for (int group = 0; group < block_inputs / group_inputs; group++) {
    const __m256i plus = _mm256_and_si256(spread_signs(weights->signs + 4 * group), _mm256_loadu_si256(values + group));
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), plus);
    const __m256i doubled = _mm256_set1_epi16(x->doubled[group * group_inputs]);
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, doubled));
  }
  return _mm256_cvtepi32_ps(sum);
}

TARGET ALWAYS_INLINE void one_output(const struct sign_block *output, int64_t blocks, const struct quantized_row *x,
                                     float *y) {
  __m256 sum = _mm256_setzero_ps();
  for (int64_t b = 0; b < blocks; b++) {
    const __m256 scale = _mm256_set1_ps(kindred_halves[output[b].scale]);
    sum = _mm256_fmadd_ps(block_product(output + b, x->blocks + b), scale, sum);
  }
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  *y += x->scale * (_mm_cvtss_f32(four) + _mm_cvtss_f32(_mm_movehdup_ps(four)));
}

TARGET ALWAYS_INLINE void four_outputs(const struct sign_block *outputs, int64_t blocks, const struct quantized_row *x,
                                       float *y) {
  for (int i = 0; i < tile_outputs; i++) one_output(outputs + i * blocks, blocks, x, y + i);
}

SIGN_PLANE_KERNEL(avx2, TARGET)
#endif
