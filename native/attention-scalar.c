// Attention in plain C, for any processor.
#include "tensor.h"

#define TARGET

typedef float vec;
enum { lanes = 1, queries_at_once = 1, partner = 1 };

TARGET ALWAYS_INLINE vec load(const float *from) { return *from; }
TARGET ALWAYS_INLINE void store(float *to, vec v) { *to = v; }
TARGET ALWAYS_INLINE vec splat(float x) { return x; }
TARGET ALWAYS_INLINE vec multiply_add(vec a, vec b, vec c) { return a * b + c; }
TARGET ALWAYS_INLINE vec larger(vec a, vec b) { return a > b ? a : b; }
TARGET ALWAYS_INLINE vec from_halves(const void *from) { return kindred_halves[*(const uint16_t *)from]; }

TARGET ALWAYS_INLINE void sums(vec a, vec b, vec c, vec d, float *to) {
  to[0] = a;
  to[1] = b;
  to[2] = c;
  to[3] = d;
}

#include "attention.h"

ATTENTION_KERNEL(scalar)
