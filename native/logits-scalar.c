// Drawing tokens in plain C, for any processor.
#define TARGET
#include "logits.h"

LOGITS_KERNEL(scalar)
