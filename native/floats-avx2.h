// Registers of floats: AVX2. See floats.h.
#pragma once
#include <immintrin.h>
#include "floats.h"

#define TARGET __attribute__((target("avx2,fma,f16c")))

typedef __m256 vec;
enum { lanes = 8, fours_at_once = 2, partner = 1 };

TARGET ALWAYS_INLINE vec load(const float *from) { return _mm256_loadu_ps(from); }
TARGET ALWAYS_INLINE void store(float *to, vec v) { _mm256_storeu_ps(to, v); }
TARGET ALWAYS_INLINE vec splat(float x) { return _mm256_set1_ps(x); }
TARGET ALWAYS_INLINE vec add(vec a, vec b) { return _mm256_add_ps(a, b); }
TARGET ALWAYS_INLINE vec multiply(vec a, vec b) { return _mm256_mul_ps(a, b); }
TARGET ALWAYS_INLINE vec multiply_add(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
TARGET ALWAYS_INLINE vec larger(vec a, vec b) { return _mm256_max_ps(a, b); }
TARGET ALWAYS_INLINE vec signed_by(vec v, const uint8_t *bytes, const int bit) {
  const __m256i plus = _mm256_slli_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)bytes)), 31 - bit);
  return _mm256_xor_ps(v, _mm256_castsi256_ps(_mm256_andnot_si256(plus, _mm256_set1_epi32(INT32_MIN))));
}
TARGET ALWAYS_INLINE vec from_halves(const void *from) { return _mm256_cvtph_ps(_mm_loadu_si128(from)); }
TARGET ALWAYS_INLINE vec from_brains(const void *from) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(from)), 16));
}
TARGET ALWAYS_INLINE vec from_bytes(const void *from) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from)));
}
TARGET ALWAYS_INLINE vec from_half_bytes(const void *from, const int high) {
  const __m256i all = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from));
  const __m256i own = high ? _mm256_srli_epi32(all, 4) : _mm256_and_si256(all, _mm256_set1_epi32(15));
  return _mm256_cvtepi32_ps(_mm256_sub_epi32(own, _mm256_set1_epi32(8)));
}
TARGET ALWAYS_INLINE vec from_some_halves(const void *from, int64_t count) {
  uint16_t all[lanes] = {0};
  memcpy(all, from, (size_t)count * sizeof *all);
  return from_halves(all);
}

TARGET ALWAYS_INLINE void sums(vec a, vec b, vec c, vec d, float *to) {
  const __m256 all = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
}
