// Factors in plain C, for any processor.
#include "floats-scalar.h"
#include "factors.h"

FACTOR_KERNEL(scalar)
