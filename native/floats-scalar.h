// Registers of floats: one at a time, in plain C. See floats.h.
#pragma once
#include "floats.h"

#define TARGET

typedef float vec;
enum { lanes = 1, fours_at_once = 1, partner = 1 };

TARGET ALWAYS_INLINE vec load(const float *from) { return *from; }
TARGET ALWAYS_INLINE void store(float *to, vec v) { *to = v; }
TARGET ALWAYS_INLINE vec splat(float x) { return x; }
TARGET ALWAYS_INLINE vec add(vec a, vec b) { return a + b; }
TARGET ALWAYS_INLINE vec multiply(vec a, vec b) { return a * b; }
TARGET ALWAYS_INLINE vec multiply_add(vec a, vec b, vec c) { return a * b + c; }
TARGET ALWAYS_INLINE vec larger(vec a, vec b) { return a > b ? a : b; }
TARGET ALWAYS_INLINE vec signed_by(vec v, const uint8_t *bytes, const int bit) { return *bytes >> bit & 1 ? v : -v; }
TARGET ALWAYS_INLINE vec from_halves(const void *from) { return kindred_halves[*(const uint16_t *)from]; }
TARGET ALWAYS_INLINE vec from_brains(const void *from) {
  const uint32_t bits = (uint32_t)*(const uint16_t *)from << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
TARGET ALWAYS_INLINE vec from_bytes(const void *from) { return (float)*(const int8_t *)from; }
TARGET ALWAYS_INLINE vec from_half_bytes(const void *from, const int high) {
  const int own = *(const uint8_t *)from;
  return (float)((high ? own >> 4 : own & 15) - 8);
}
TARGET ALWAYS_INLINE vec from_some_halves(const void *from, int64_t count) { return count > 0 ? from_halves(from) : 0.0f; }

TARGET ALWAYS_INLINE void sums(vec a, vec b, vec c, vec d, float *to) {
  to[0] = a;
  to[1] = b;
  to[2] = c;
  to[3] = d;
}
