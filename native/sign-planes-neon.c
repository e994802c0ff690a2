// Sign planes by NEON's dot product: multipliers, negated where the sign is minus, against the inputs.
#if defined(__aarch64__)
#include "neon-dotprod.h"
#include "sign-planes.h"

TARGET ALWAYS_INLINE int32x4_t block_product(const struct sign_block *weights, const struct quantized_block *x) {
  static const uint8_t byte_of[16] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  static const uint8_t bit_of[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t signs = vld1q_u8(weights->signs), bits = vld1q_u8(bit_of);
  uint8x16_t bytes = vld1q_u8(byte_of);
  int32x4_t sum = vdupq_n_s32(0);
  for (int i = 0; i < block_inputs; i += 16) {
    const uint8x16_t plus = vtstq_u8(vqtbl1q_u8(signs, bytes), bits);
    const int8x16_t multipliers = vreinterpretq_s8_u8(vshrq_n_u8(vld1q_u8(x->doubled + i), 1));
    sum = vdotq_s32(sum, vbslq_s8(plus, multipliers, vnegq_s8(multipliers)), vld1q_s8(x->values + i));
    bytes = vaddq_u8(bytes, vdupq_n_u8(2));
  }
  return sum;
}

TARGET ALWAYS_INLINE void one_output(const struct sign_block *output, int64_t blocks, const struct quantized_row *x,
                                     float *y) {
  float32x4_t sum = vdupq_n_f32(0.0f);
  for (int64_t b = 0; b < blocks; b++) {
    const float32x4_t product = vcvtq_f32_s32(block_product(output + b, x->blocks + b));
    sum = vfmaq_n_f32(sum, product, kindred_halves[output[b].scale]);
  }
  *y += x->scale * vaddvq_f32(sum);
}

TARGET ALWAYS_INLINE void four_outputs(const struct sign_block *outputs, int64_t blocks, const struct quantized_row *x,
                                       float *y) {
  for (int i = 0; i < tile_outputs; i++) one_output(outputs + i * blocks, blocks, x, y + i);
}

SIGN_PLANE_KERNEL(neon, TARGET)
#endif
