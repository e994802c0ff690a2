// Attention by AVX-512.
#if defined(__x86_64__)
#include <immintrin.h>
#include "tensor.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")))

typedef __m512 vec;
enum { lanes = 16, queries_at_once = 4, partner = 2 };

TARGET ALWAYS_INLINE vec load(const float *from) { return _mm512_loadu_ps(from); }
TARGET ALWAYS_INLINE void store(float *to, vec v) { _mm512_storeu_ps(to, v); }
TARGET ALWAYS_INLINE vec splat(float x) { return _mm512_set1_ps(x); }
TARGET ALWAYS_INLINE vec multiply_add(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
TARGET ALWAYS_INLINE vec larger(vec a, vec b) { return _mm512_max_ps(a, b); }
TARGET ALWAYS_INLINE vec from_halves(const void *from) { return _mm512_cvtph_ps(_mm256_loadu_si256(from)); }

TARGET ALWAYS_INLINE void sums(vec a, vec b, vec c, vec d, float *to) {
  const __m512 low = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const __m512 high = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  const __m512 all = _mm512_add_ps(_mm512_shuffle_ps(low, high, 0x44), _mm512_shuffle_ps(low, high, 0xee));
  const __m512 upper = _mm512_shuffle_f32x4(all, all, 0xee);
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_castps512_ps256(upper));
  _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}

#include "attention.h"

ATTENTION_KERNEL(avx512vnni)
#endif
