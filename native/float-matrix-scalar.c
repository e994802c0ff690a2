// Matrices of 16-bit floats in plain C, for any processor.
#include "floats-scalar.h"

enum { float_rows_max = 2, float_chains = 1 };

#include "float-matrix.h"
#include "merged-floats.h"

FLOAT_MATRIX_KERNEL(scalar)
MERGED_FLOATS_KERNEL(scalar)
