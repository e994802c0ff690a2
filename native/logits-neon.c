// Drawing tokens by NEON.
#if defined(__aarch64__)
#define TARGET
#include "logits.h"

LOGITS_KERNEL(neon)
#endif
