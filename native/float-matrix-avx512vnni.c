// Matrices of 16-bit floats by AVX-512: a strip is one register.
#if defined(__x86_64__)
#include "floats-avx512vnni.h"

enum { float_rows_max = 8, float_chains = 2 };

#include "float-matrix.h"
#include "merged-floats.h"

FLOAT_MATRIX_KERNEL(avx512vnni)
MERGED_FLOATS_KERNEL(avx512vnni)
#endif
