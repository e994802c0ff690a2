// Attention with NEON's conversion of half floats.
#if defined(__aarch64__)
#include <arm_neon.h>
#include "attention.h"

ALWAYS_INLINE void read_lanes(const uint16_t *halves, float *values) {
  for (int i = 0; i < lanes_count; i += 4) {
    vst1q_f32(values + i, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(halves + i))));
  }
}

ATTENTION_KERNEL(neon, )
#endif
