// Base matrices in plain C, for any processor.
#include "interleave.h"
#include "layer-inputs.h"
#include "merged-planes.h"

static void one_row(int adds, struct strip strip, int64_t groups, struct row_tile x, float *to) {
  float sums[strip_outputs] = {0};
  for (int64_t group = 0; group < groups; group++) {
    const int8_t *values = (const int8_t *)tile_values(x, group);
    const struct row_numbers numbers = tile_numbers(x, group);
    const uint8_t *weights = strip.weights + group * group_weights;
    int32_t products[strip_outputs];
    for (int lane = 0; lane < strip_outputs; lane++) products[lane] = *numbers.offsets - float_bits;
    for (int i = 0; i < group_inputs; i++) {
      for (int lane = 0; lane < strip_outputs; lane++) products[lane] += weights[i / 4 * 64 + lane * 4 + i % 4] * values[i];
    }
    for (int lane = 0; lane < strip_outputs; lane++) {
      sums[lane] += kindred_halves[strip.scales[group * strip_outputs + lane]] * (*numbers.steps * (float)products[lane]);
    }
  }
  for (int lane = 0; lane < strip_outputs; lane++) to[lane] = adds ? to[lane] + sums[lane] : sums[lane];
}

static void tile(int rows, int adds, struct strip_pair pair, int64_t groups, struct row_tile x, struct row_span y,
                 struct request request) {
  (void)request;
  for (int row = 0; row < rows; row++) {
    for (int side = 0; side < (pair.y_apart > 0 ? 2 : 1); side++) {
      float *to = (float *)(y.first + row * y.bytes + side * pair.y_apart);
      one_row(adds, pair.strips[side], groups, rows_from(x, row), to);
    }
  }
}

static void merge(int planes, struct strip strip, const struct sign_strip *signs, int64_t groups, struct merged_panel *to) {
  switch (planes) {
    case 1: merge_plainly(1, strip, signs, groups, to); break;
    case 2: merge_plainly(2, strip, signs, groups, to); break;
    default: merge_plainly(planes, strip, signs, groups, to);
  }
}

BASE_MATRIX_KERNEL(scalar, )
MERGED_PLANES_KERNEL(scalar, )
INTERLEAVE_KERNEL(scalar, )
LAYER_INPUT_KERNEL(scalar, )
