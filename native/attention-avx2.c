// Attention by AVX2.
#if defined(__x86_64__)
#include "floats-avx2.h"
#include "attention.h"

ATTENTION_KERNEL(avx2)
#endif
