// Sign planes in plain C, for any processor.
#include "sign-planes.h"

ALWAYS_INLINE void one_output(const struct sign_block *output, int64_t blocks, const struct quantized_row *x, float *y) {
  float sum = 0.0f;
  for (int64_t b = 0; b < blocks; b++) {
    const struct quantized_block *own = x->blocks + b;
    int32_t product = 0;
    for (int lane = 0; lane < 8; lane++) product += own->negated[lane];
    for (int i = 0; i < block_inputs; i++) {
      const int32_t plus = -((output[b].signs[i / 8] >> (i % 8)) & 1);
      product += plus & (own->doubled[i] * own->values[i]);
    }
    sum += kindred_halves[output[b].scale] * (float)product;
  }
  *y += x->scale * sum;
}

ALWAYS_INLINE void four_outputs(const struct sign_block *outputs, int64_t blocks, const struct quantized_row *x,
                                float *y) {
  for (int i = 0; i < tile_outputs; i++) one_output(outputs + i * blocks, blocks, x, y + i);
}

SIGN_PLANE_KERNEL(scalar, )
