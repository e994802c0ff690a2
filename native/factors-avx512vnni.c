// Factors by AVX-512.
#if defined(__x86_64__)
#include "floats-avx512vnni.h"
#include "factors.h"

FACTOR_KERNEL(avx512vnni)
#endif
