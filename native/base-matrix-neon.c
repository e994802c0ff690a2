// Base matrices by NEON's dot product: a lane of four inputs against four outputs, and another four.
#if defined(__aarch64__)
#include "interleave.h"
#include "layer-inputs.h"
#include "merged-planes.h"
#include "neon-dotprod.h"

// Up to two rows: eight sums and eight products, as there are 32 registers.
TARGET ALWAYS_INLINE void few_rows(const int rows, int adds, struct strip strip, int64_t groups, struct row_tile x, struct row_span y,
                                   struct request request) {
  const uint8x16_t middle = vdupq_n_u8(0x80);
  float32x4_t sums[2][4];
  for (int row = 0; row < rows; row++) {
    for (int part = 0; part < 4; part++) sums[row][part] = vdupq_n_f32(0.0f);
  }
  for (int64_t group = 0; group < groups; group++) {
    const char *values = tile_values(x, group);
    const float *steps = tile_numbers(x, group).steps;
    ask_ahead(request, group);
    const uint8_t *weights = strip.weights + group * group_weights;
    const float16x8_t low = vreinterpretq_f16_u16(vld1q_u16(strip.scales + group * strip_outputs));
    const float16x8_t high = vreinterpretq_f16_u16(vld1q_u16(strip.scales + group * strip_outputs + 8));
    const float32x4_t scales[4] = {vcvt_f32_f16(vget_low_f16(low)), vcvt_high_f32_f16(low), vcvt_f32_f16(vget_low_f16(high)),
                                   vcvt_high_f32_f16(high)};
    int32x4_t products[2][4];
    for (int row = 0; row < rows; row++) {
      for (int part = 0; part < 4; part++) products[row][part] = vdupq_n_s32(0);
    }
    for (int k = 0; k < group_inputs / 4; k++) {
      for (int part = 0; part < 4; part++) {
        const int8x16_t four = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(weights + 64 * k + 16 * part), middle));
        for (int row = 0; row < rows; row++) {
          int32_t own;
          memcpy(&own, values + row * group_inputs + 4 * k, sizeof own);
          products[row][part] = vdotq_s32(products[row][part], four, vreinterpretq_s8_s32(vdupq_n_s32(own)));
        }
      }
    }
    for (int row = 0; row < rows; row++) {
      for (int part = 0; part < 4; part++) {
        sums[row][part] = vfmaq_f32(sums[row][part], vmulq_n_f32(vcvtq_f32_s32(products[row][part]), steps[row]), scales[part]);
      }
    }
  }
  for (int row = 0; row < rows; row++) {
    float *to = (float *)(y.first + row * y.bytes);
    for (int part = 0; part < 4; part++) {
      const float32x4_t before = adds ? vld1q_f32(to + 4 * part) : vdupq_n_f32(0.0f);
      vst1q_f32(to + 4 * part, vaddq_f32(before, sums[row][part]));
    }
  }
}

TARGET static void tile(int rows, int adds, struct strip_pair pair, int64_t groups, struct row_tile x, struct row_span y,
                        struct request request) {
  for (int side = 0; side < (pair.y_apart > 0 ? 2 : 1); side++) {
    for (int first = 0; first < rows; first += 2) {
      const struct row_span own_y = {y.first + first * y.bytes + side * pair.y_apart, y.bytes};
      if (first + 1 < rows) few_rows(2, adds, pair.strips[side], groups, rows_from(x, first), own_y, request);
      else few_rows(1, adds, pair.strips[side], groups, rows_from(x, first), own_y, request);
      request.lines_per_group = 0;
    }
  }
}

TARGET static void merge(int planes, struct strip strip, const struct sign_strip *signs, int64_t groups, struct merged_panel *to) {
  switch (planes) {
    case 1: merge_plainly(1, strip, signs, groups, to); break;
    case 2: merge_plainly(2, strip, signs, groups, to); break;
    default: merge_plainly(planes, strip, signs, groups, to);
  }
}

BASE_MATRIX_KERNEL(neon, TARGET)
MERGED_PLANES_KERNEL(neon, TARGET)
INTERLEAVE_KERNEL(neon, TARGET)
LAYER_INPUT_KERNEL(neon, TARGET)
#endif
