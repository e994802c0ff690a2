// Attention by AVX2.
#if defined(__x86_64__)
#include <immintrin.h>
#include "tensor.h"

#define TARGET __attribute__((target("avx2,fma,f16c")))

typedef __m256 vec;
enum { lanes = 8, queries_at_once = 2, partner = 1 };

TARGET ALWAYS_INLINE vec load(const float *from) { return _mm256_loadu_ps(from); }
TARGET ALWAYS_INLINE void store(float *to, vec v) { _mm256_storeu_ps(to, v); }
TARGET ALWAYS_INLINE vec splat(float x) { return _mm256_set1_ps(x); }
TARGET ALWAYS_INLINE vec multiply_add(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
TARGET ALWAYS_INLINE vec larger(vec a, vec b) { return _mm256_max_ps(a, b); }
TARGET ALWAYS_INLINE vec from_halves(const void *from) { return _mm256_cvtph_ps(_mm_loadu_si128(from)); }

TARGET ALWAYS_INLINE void sums(vec a, vec b, vec c, vec d, float *to) {
  const __m256 all = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
}

#include "attention.h"

ATTENTION_KERNEL(avx2)
#endif
