// Products of a base matrix in 16-bit floats with a variant's sign planes merged into it, for many rows of one variant: a piece of a strip
// is merged once, in 32 bits, and multiplied with all of them. Included after float-matrix.h, with what that asks for.
#pragma once
#include "merged-planes.h"

// Inputs that are merged at a time: as many as stay in the first cache. Whole blocks of planes.
enum { merged_inputs = 256 };

// Writes a register's outputs of as many inputs of a strip with planes added.
TARGET ALWAYS_INLINE void merge_floats(const int type, int planes, const uint16_t *strip, const struct sign_strip *signs, int64_t inputs,
                                       int first_output, float *to) {
  for (int64_t group = 0; group * group_inputs < inputs; group++) {
    vec scales[merged_planes_max];
    for (int plane = 0; plane < planes; plane++) {
      scales[plane] = from_halves(signs[plane].scales + group / block_groups * strip_outputs + first_output);
    }
    for (int g = 0; g < 4; g++) {
#pragma GCC unroll 8
      for (int bit = 0; bit < 8; bit++) {
        const int64_t k = group * group_inputs + 4 * g + bit % 4 + bit / 4 * 16;
        if (k >= inputs) continue;
        vec sum = strip_weights(type, strip, k * strip_outputs + first_output);
        for (int plane = 0; plane < planes; plane++) {
          const uint8_t *bytes = signs[plane].signs + group * group_signs + g * strip_outputs + first_output;
          sum = add(sum, signed_by(scales[plane], bytes, bit));
        }
        store(to + k * strip_outputs + first_output, sum);
      }
    }
  }
}

// result: y [outputs and others, rows and others] f32, in place; src[1]: activations [inputs, all rows] f32; src[2]: the first row, how many
// rows, and the slot of each class, i32; src[3]: the matrix; src[4 …]: the planes [inputs, outputs, slots] of those classes whose bit
// is set in `classes`. Writes the products to the outputs from `first_output` on, or adds them. Threads take strips.
TARGET ALWAYS_INLINE void multiply_merged_floats(struct ggml_tensor *result, int thread, int threads, const int type, int adds,
                                                 uint32_t classes, int64_t first_output) {
  const struct ggml_tensor *x = result->src[1], *matrix = result->src[3];
  const int32_t *run = result->src[2]->data;
  const int64_t first_row = run[0], rows = run[1], inputs = matrix->ne[0], outputs = matrix->ne[1], strips = outputs / strip_outputs;
  const int64_t groups = (inputs + group_inputs - 1) / group_inputs;
  char *const own_x = (char *)x->data + (size_t)first_row * x->nb[1];
  char *const y = (char *)result->data + (size_t)first_row * result->nb[1] + (size_t)first_output * sizeof(float);
  const char *plane[merged_planes_max];
  const int planes = planes_of_run(result, classes, plane);
  float merged[merged_inputs * strip_outputs] __attribute__((aligned(64)));
  // All rows' activations of a panel stay in the second cache while the strips go by.
  for (int64_t k = 0; k < inputs; k += merged_inputs) {
    const int64_t count = inputs - k < merged_inputs ? inputs - k : merged_inputs;
    const struct row_span panel_x = {own_x + (size_t)k * sizeof(float), x->nb[1]};
    for (int64_t index = strips * thread / threads; index < strips * (thread + 1) / threads; index++) {
      const uint16_t *strip = (const uint16_t *)matrix->data + (index * inputs + k) * strip_outputs;
      struct sign_strip signs[merged_planes_max];
      for (int i = 0; i < planes; i++) signs[i] = sign_strip_of(plane[i], outputs, groups, index, k / block_inputs);
      for (int first = 0; first < strip_outputs; first += lanes) {
        merge_floats(type, planes, strip, signs, count, first, merged);
      }
      const struct row_span strip_y = {y + (size_t)index * strip_outputs * sizeof(float), result->nb[1]};
      float_tiles(rows, type_f32, adds || k > 0, merged, count, panel_x, strip_y);
    }
  }
}

// Defines the operation of a kernel, `kindred_merged_floats_NAME`; its user data are those of `kindred_merged_NAME`.
#define MERGED_FLOATS_KERNEL(NAME)                                                                              \
  TARGET void kindred_merged_floats_##NAME(struct ggml_tensor *result, int thread, int threads, void *place) {  \
    const uint64_t own = (uint64_t)(uintptr_t)place;                                                            \
    const uint32_t classes = (uint32_t)(own & 0xffffffff) >> 1;                                                 \
    if (result->src[3]->type == type_bf16)                                                                \
      multiply_merged_floats(result, thread, threads, type_bf16, own & 1, classes, (int64_t)(own >> 32)); \
    else multiply_merged_floats(result, thread, threads, type_f16, own & 1, classes, (int64_t)(own >> 32)); \
  }
