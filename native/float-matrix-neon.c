// Matrices of 16-bit floats by NEON: a strip is four registers, of 32.
#if defined(__aarch64__)
#include "neon-dotprod.h"

// How sums lie in registers, for the headers.
enum { part_bytes = 16, float_rows_max = 6, float_chains = 1 };

#include "float-matrix.h"
#include "merged-floats.h"

TARGET ALWAYS_INLINE part widen_halves(const uint16_t *halves) {
  return (part)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(halves)));
}

TARGET ALWAYS_INLINE part widen_brains(const uint16_t *brains) {
  return (part)vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(brains), 16));
}

FLOAT_MATRIX_KERNEL(neon)
MERGED_FLOATS_KERNEL(neon)
#endif
