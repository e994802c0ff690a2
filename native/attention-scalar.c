// Attention in plain C, for any processor.
#include "floats-scalar.h"
#include "attention.h"

ATTENTION_KERNEL(scalar)
