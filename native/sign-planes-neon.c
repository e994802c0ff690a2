// Sign planes by NEON: an instruction looks up the sums of a quad for 16 outputs; a group's add up in 16 bits.
#if defined(__aarch64__)
#include "neon-dotprod.h"
#include "sign-planes.h"

TARGET ALWAYS_INLINE void multiply_strip(struct sign_strip strip, int64_t blocks, const struct sign_tables *x, float *y) {
  const uint8x16_t lower = vdupq_n_u8(15);
  float32x4_t sums[4];
  for (int part = 0; part < 4; part++) sums[part] = vdupq_n_f32(0.0f);
  for (int64_t block = 0; block < blocks; block++) {
    const struct sign_table_block *own = x->blocks + block;
    int32x4_t products[4];
    for (int part = 0; part < 4; part++) products[part] = vdupq_n_s32(0);
    for (int group = 0; group < block_groups; group++) {
      const uint8_t *signs = strip.signs + block * block_signs + group * group_signs;
      __builtin_prefetch(signs + prefetch_bytes);
      int16x8_t low = vdupq_n_s16(0), high = low;
      for (int g = 0; g < 4; g++) {
        const uint8x16_t bytes = vld1q_u8(signs + g * strip_outputs);
        const int8x16_t near = vqtbl1q_s8(vld1q_s8(own->entries[group][g]), vandq_u8(bytes, lower));
        const int8x16_t far = vqtbl1q_s8(vld1q_s8(own->entries[group][g + 4]), vshrq_n_u8(bytes, 4));
        low = vaddq_s16(low, vaddl_s8(vget_low_s8(near), vget_low_s8(far)));
        high = vaddq_s16(high, vaddl_high_s8(near, far));
      }
      const int16_t multiplier = own->wide_multipliers[group];
      products[0] = vmlal_n_s16(products[0], vget_low_s16(low), multiplier);
      products[1] = vmlal_high_n_s16(products[1], low, multiplier);
      products[2] = vmlal_n_s16(products[2], vget_low_s16(high), multiplier);
      products[3] = vmlal_high_n_s16(products[3], high, multiplier);
    }
    for (int part = 0; part < 4; part++) {
      const uint16x4_t halves = vld1_u16(strip.scales + block * strip_outputs + 4 * part);
      const float32x4_t scales = vcvt_f32_f16(vreinterpret_f16_u16(halves));
      sums[part] = vfmaq_f32(sums[part], vcvtq_f32_s32(products[part]), scales);
    }
  }
  for (int part = 0; part < 4; part++) vst1q_f32(y + 4 * part, vfmaq_n_f32(vld1q_f32(y + 4 * part), sums[part], x->step));
}

SIGN_PLANE_KERNEL(neon, TARGET)
#endif
