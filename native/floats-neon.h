// Registers of floats: NEON. See floats.h.
#pragma once
#include <arm_neon.h>
#include "floats.h"

#define TARGET

typedef float32x4_t vec;
enum { lanes = 4, fours_at_once = 4, partner = 1 };

TARGET ALWAYS_INLINE vec load(const float *from) { return vld1q_f32(from); }
TARGET ALWAYS_INLINE void store(float *to, vec v) { vst1q_f32(to, v); }
TARGET ALWAYS_INLINE vec splat(float x) { return vdupq_n_f32(x); }
TARGET ALWAYS_INLINE vec add(vec a, vec b) { return vaddq_f32(a, b); }
TARGET ALWAYS_INLINE vec multiply(vec a, vec b) { return vmulq_f32(a, b); }
TARGET ALWAYS_INLINE vec multiply_add(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
TARGET ALWAYS_INLINE vec larger(vec a, vec b) { return vmaxq_f32(a, b); }
TARGET ALWAYS_INLINE vec signed_by(vec v, const uint8_t *bytes, const int bit) {
  uint32_t four;
  memcpy(&four, bytes, sizeof four);
  const uint32x4_t wide = vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four))));
  const uint32x4_t plus = vshlq_u32(wide, vdupq_n_s32(31 - bit)), top = vdupq_n_u32(0x80000000u);
  return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(v), vbicq_u32(top, plus)));
}
TARGET ALWAYS_INLINE vec from_halves(const void *from) { return vcvt_f32_f16(vld1_f16(from)); }
TARGET ALWAYS_INLINE vec from_brains(const void *from) {
  return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(from), 16));
}
TARGET ALWAYS_INLINE vec from_bytes(const void *from) {
  int32_t four;
  memcpy(&four, from, sizeof four);
  const int16x8_t wide = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)));
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
}
TARGET ALWAYS_INLINE vec from_half_bytes(const void *from, const int high) {
  uint32_t four;
  memcpy(&four, from, sizeof four);
  const uint8x8_t all = vreinterpret_u8_u32(vdup_n_u32(four));
  const int8x8_t own = vreinterpret_s8_u8(high ? vshr_n_u8(all, 4) : vand_u8(all, vdup_n_u8(15)));
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vsub_s8(own, vdup_n_s8(8))))));
}
TARGET ALWAYS_INLINE vec from_some_halves(const void *from, int64_t count) {
  uint16_t all[lanes] = {0};
  memcpy(all, from, (size_t)count * sizeof *all);
  return from_halves(all);
}

TARGET ALWAYS_INLINE void sums(vec a, vec b, vec c, vec d, float *to) {
  store(to, vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d)));
}
