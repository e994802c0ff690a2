// Matrices of 16-bit floats by NEON: a strip is four registers, of 32.
#if defined(__aarch64__)
#include "floats-neon.h"

enum { float_rows_max = 6, float_chains = 1 };

#include "float-matrix.h"
#include "merged-floats.h"

FLOAT_MATRIX_KERNEL(neon)
MERGED_FLOATS_KERNEL(neon)
#endif
