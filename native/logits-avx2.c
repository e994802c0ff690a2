// Drawing tokens by AVX2.
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2,fma")))
#include "logits.h"

LOGITS_KERNEL(avx2)
#endif
