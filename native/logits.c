// Logits, left to the compiler: it finds the vectors of these loops by itself, whatever the instructions.
#include "logits.h"

#if defined(__x86_64__)
LOGITS_KERNEL(avx512vnni, __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma"))))
LOGITS_KERNEL(avx2, __attribute__((target("avx2,fma"))))
#elif defined(__aarch64__)
LOGITS_KERNEL(neon, )
#endif
LOGITS_KERNEL(scalar, )
