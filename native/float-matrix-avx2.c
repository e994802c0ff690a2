// Matrices of 16-bit floats by AVX2: a strip is two registers, of 16.
#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma,f16c")))
// How sums lie in registers, for the headers.
enum { part_bytes = 32, float_rows_max = 6, float_chains = 1 };

#include "float-matrix.h"
#include "merged-floats.h"

TARGET ALWAYS_INLINE part widen_halves(const uint16_t *halves) {
  return (part)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)halves));
}

TARGET ALWAYS_INLINE part widen_brains(const uint16_t *brains) {
  return (part)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)brains)), 16);
}

FLOAT_MATRIX_KERNEL(avx2)
MERGED_FLOATS_KERNEL(avx2)
#endif
