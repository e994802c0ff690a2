// Drawing tokens by AVX-512.
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")))
#include "logits.h"

LOGITS_KERNEL(avx512vnni)
#endif
