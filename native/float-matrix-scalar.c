// Matrices of 16-bit floats in plain C, for any processor.
#define TARGET
// How sums lie in registers, for the headers.
enum { part_bytes = 16, float_rows_max = 2, float_chains = 1 };

#include "float-matrix.h"
#include "merged-floats.h"

ALWAYS_INLINE part widen_halves(const uint16_t *halves) {
  return (part){kindred_halves[halves[0]], kindred_halves[halves[1]], kindred_halves[halves[2]], kindred_halves[halves[3]]};
}

ALWAYS_INLINE part widen_brains(const uint16_t *brains) {
  part own;
  for (int lane = 0; lane < part_outputs; lane++) {
    const uint32_t bits = (uint32_t)brains[lane] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    own[lane] = value;
  }
  return own;
}

FLOAT_MATRIX_KERNEL(scalar)
MERGED_FLOATS_KERNEL(scalar)
