// Registers of floats: AVX-512. See floats.h.
#pragma once
#include <immintrin.h>
#include "floats.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")))

typedef __m512 vec;
enum { lanes = 16, fours_at_once = 4, partner = 2 };

TARGET ALWAYS_INLINE vec load(const float *from) { return _mm512_loadu_ps(from); }
TARGET ALWAYS_INLINE void store(float *to, vec v) { _mm512_storeu_ps(to, v); }
TARGET ALWAYS_INLINE vec splat(float x) { return _mm512_set1_ps(x); }
TARGET ALWAYS_INLINE vec add(vec a, vec b) { return _mm512_add_ps(a, b); }
TARGET ALWAYS_INLINE vec multiply(vec a, vec b) { return _mm512_mul_ps(a, b); }
TARGET ALWAYS_INLINE vec multiply_add(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
TARGET ALWAYS_INLINE vec larger(vec a, vec b) { return _mm512_max_ps(a, b); }
TARGET ALWAYS_INLINE vec signed_by(vec v, const uint8_t *bytes, const int bit) {
  const __mmask16 plus = _mm_test_epi8_mask(_mm_loadu_si128((const __m128i *)bytes), _mm_set1_epi8((char)(1 << bit)));
  const __m512i own = _mm512_castps_si512(v);
  return _mm512_castsi512_ps(_mm512_mask_xor_epi32(own, (__mmask16)~plus, own, _mm512_set1_epi32(INT32_MIN)));
}
TARGET ALWAYS_INLINE vec from_halves(const void *from) { return _mm512_cvtph_ps(_mm256_loadu_si256(from)); }
TARGET ALWAYS_INLINE vec from_brains(const void *from) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(from)), 16));
}
TARGET ALWAYS_INLINE vec from_bytes(const void *from) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from)));
}
TARGET ALWAYS_INLINE vec from_half_bytes(const void *from, const int high) {
  const __m512i all = _mm512_cvtepu8_epi32(_mm_loadu_si128(from));
  // A look-up goes by the low half of each.
  const vec numbers = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
  return _mm512_permutexvar_ps(high ? _mm512_srli_epi32(all, 4) : all, numbers);
}
TARGET ALWAYS_INLINE vec from_some_halves(const void *from, int64_t count) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16((__mmask16)((1u << count) - 1), from));
}

TARGET ALWAYS_INLINE void sums(vec a, vec b, vec c, vec d, float *to) {
  const __m512 low = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const __m512 high = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  const __m512 all = _mm512_add_ps(_mm512_shuffle_ps(low, high, 0x44), _mm512_shuffle_ps(low, high, 0xee));
  const __m512 upper = _mm512_shuffle_f32x4(all, all, 0xee);
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_castps512_ps256(upper));
  _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}
