// Attention by NEON.
#if defined(__aarch64__)
#include "floats-neon.h"
#include "attention.h"

ATTENTION_KERNEL(neon)
#endif
