// Matrices of 16-bit floats by AVX-512: a strip is one register.
#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")))
// How sums lie in registers, for the headers.
enum { part_bytes = 64, float_rows_max = 8, float_chains = 2 };

#include "float-matrix.h"
#include "merged-floats.h"

TARGET ALWAYS_INLINE part widen_halves(const uint16_t *halves) {
  return (part)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)halves));
}

TARGET ALWAYS_INLINE part widen_brains(const uint16_t *brains) {
  return (part)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)brains)), 16);
}

FLOAT_MATRIX_KERNEL(avx512vnni)
MERGED_FLOATS_KERNEL(avx512vnni)
#endif
