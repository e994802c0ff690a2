// Attention in plain C, with a table of half floats.
#include "attention.h"

extern float kindred_halves[1 << 16];

ALWAYS_INLINE void read_lanes(const uint16_t *halves, float *values) {
  for (int i = 0; i < lanes_count; i++) values[i] = kindred_halves[halves[i]];
}

ATTENTION_KERNEL(scalar, )
