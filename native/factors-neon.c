// Factors by NEON.
#if defined(__aarch64__)
#include "floats-neon.h"
#include "factors.h"

FACTOR_KERNEL(neon)
#endif
