// Attention with AVX-512's conversion of half floats.
#if defined(__x86_64__)
#include <immintrin.h>
#include "attention.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")))

TARGET ALWAYS_INLINE void read_lanes(const uint16_t *halves, float *values) {
  _mm512_storeu_ps(values, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)halves)));
}

ATTENTION_KERNEL(avx512vnni, TARGET)
#endif
