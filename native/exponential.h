// e to the power of a float.
#pragma once
#include <math.h>
#include <string.h>
#include "tensor.h"

// Within 2 units of the last place, for −87 … 88; beyond, as if it were there.
ALWAYS_INLINE float exponential(float x) {
  const float near = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  const float power = rintf(near * 1.44269504f);
  const float rest = (near - power * 0.693359375f) + power * 2.12194440e-4f;  // ln 2 in two parts, the first of few bits
  float sum = 1.9875691500e-4f;
  sum = sum * rest + 1.3981999507e-3f;
  sum = sum * rest + 8.3334519073e-3f;
  sum = sum * rest + 4.1665795894e-2f;
  sum = sum * rest + 1.6666665459e-1f;
  sum = sum * rest + 5.0000001201e-1f;
  sum = sum * rest * rest + rest + 1.0f;
  const int32_t bits = ((int32_t)power + 127) << 23;
  float two;
  memcpy(&two, &bits, sizeof two);
  return sum * two;
}
