// Attention with F16C's conversion of half floats.
#if defined(__x86_64__)
#include <immintrin.h>
#include "attention.h"

#define TARGET __attribute__((target("avx2,fma,f16c")))

TARGET ALWAYS_INLINE void read_lanes(const uint16_t *halves, float *values) {
  _mm256_storeu_ps(values, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)halves)));
  _mm256_storeu_ps(values + 8, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(halves + 8))));
}

ATTENTION_KERNEL(avx2, TARGET)
#endif
