// Sign planes in plain C, for any processor.
#include "sign-planes.h"

ALWAYS_INLINE void multiply_strip(struct sign_strip strip, int64_t blocks, const struct sign_tables *x, float *y) {
  float sums[strip_outputs] = {0};
  for (int64_t block = 0; block < blocks; block++) {
    const struct sign_table_block *own = x->blocks + block;
    int32_t products[strip_outputs] = {0};
    for (int group = 0; group < block_groups; group++) {
      const uint8_t *signs = strip.signs + block * block_signs + group * group_signs;
      for (int g = 0; g < 4; g++) {
        for (int lane = 0; lane < strip_outputs; lane++) {
          const uint8_t byte = signs[g * strip_outputs + lane];
          products[lane] += own->wide_multipliers[group] * (own->entries[group][g][byte & 15] + own->entries[group][g + 4][byte >> 4]);
        }
      }
    }
    for (int lane = 0; lane < strip_outputs; lane++) {
      sums[lane] += kindred_halves[strip.scales[block * strip_outputs + lane]] * (float)products[lane];
    }
  }
  for (int lane = 0; lane < strip_outputs; lane++) y[lane] += x->step * sums[lane];
}

SIGN_PLANE_KERNEL(scalar, )
