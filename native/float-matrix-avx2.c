// Matrices of 16-bit floats by AVX2: a strip is two registers, of 16.
#if defined(__x86_64__)
#include "floats-avx2.h"

enum { float_rows_max = 6, float_chains = 1 };

#include "float-matrix.h"
#include "merged-floats.h"

FLOAT_MATRIX_KERNEL(avx2)
MERGED_FLOATS_KERNEL(avx2)
#endif
