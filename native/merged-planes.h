// Products of a base matrix with a variant's sign planes merged into it, for many rows of one variant: a piece of a strip is
// merged once, in 8 bits again, and multiplied with all of them as the base's own strips are.
//
// For each output and group, with the base's scale and weights, and each plane's scale d, all integers but the scales:
//
//   new scale    (138 · scale + Σ |d|) / 127, rounded up to a half float
//   new weight   (weight · 2^8 · shrink / 2^15 + Σ ±step) / 2^8      shrink = 2^15 · scale / new scale, step = 2^8 · d / new scale
//
// No weight can be larger than 127 then, so none is looked at before it is written. 127 instead of 138 would do for that, but
// then a weight would stay all but a whole number, and steps below a half would be lost when it is rounded, all of them. Shrunk by
// a twelfth, weights lie anywhere between two whole numbers, and what is lost on one is won on another.
#pragma once
#include "base-matrix.h"
#include "interleave.h"
#include "sign-planes.h"

// Groups that are merged at a time: as many as stay in the first cache. Whole blocks of planes.
enum { panel_groups = piece_groups, merged_planes_max = 4 };

struct merged_panel {
  uint8_t weights[panel_groups * group_weights] __attribute__((aligned(64)));
  uint16_t scales[panel_groups * strip_outputs];
};

// Merges planes, at least one, into as many groups of a strip.
typedef void merge_panel(int planes, struct strip strip, const struct sign_strip *signs, int64_t groups, struct merged_panel *to);

ALWAYS_INLINE uint16_t half_not_below(float value) {
  const uint16_t nearest = half_of(value);
  return kindred_halves[nearest] < value ? nearest + 1 : nearest;
}

// A `merge_panel` in plain C.
ALWAYS_INLINE void merge_plainly(const int planes, struct strip strip, const struct sign_strip *strips, int64_t groups,
                                 struct merged_panel *to) {
  for (int64_t group = 0; group < groups; group++) {
    // Each output's for all four bytes that it has in 64.
    int32_t shrink[64], step[merged_planes_max][64];
    uint32_t signs[merged_planes_max][64];
    for (int lane = 0; lane < strip_outputs; lane++) {
      const int64_t at = group * strip_outputs + lane;
      const float scale = kindred_halves[strip.scales[at]];
      float sum = 138.0f * scale, own[merged_planes_max];
      uint32_t bits[merged_planes_max];
      for (int plane = 0; plane < planes; plane++) {
        own[plane] = kindred_halves[strips[plane].scales[group / block_groups * strip_outputs + lane]];
        sum += fabsf(own[plane]);
        bits[plane] = signs_of(strips[plane].signs + group * group_signs, lane);
      }
      to->scales[at] = half_not_below(sum / 127.0f);
      const float merged = kindred_halves[to->scales[at]], inverse = merged > 0.0f ? 1.0f / merged : 0.0f;
      for (int i = 4 * lane; i < 4 * lane + 4; i++) {
        shrink[i] = (int32_t)rintf(scale * inverse * 32768.0f);
        for (int plane = 0; plane < planes; plane++) {
          step[plane][i] = (int32_t)rintf(own[plane] * inverse * 256.0f);
          signs[plane][i] = bits[plane] >> i % 4;
        }
      }
    }
    for (int k = 0; k < group_inputs / 4; k++) {
      const uint8_t *from = strip.weights + group * group_weights + 64 * k;
      uint8_t *merged = to->weights + group * group_weights + 64 * k;
      for (int i = 0; i < 64; i++) {
        int32_t value = ((from[i] - 128) * 256 * shrink[i] + (1 << 14)) >> 15;
        for (int plane = 0; plane < planes; plane++) {
          value += signs[plane][i] >> 4 * k & 1 ? step[plane][i] : -step[plane][i];
        }
        merged[i] = (uint8_t)(((value + 128) >> 8) + 128);
      }
    }
  }
}

// Finds the planes of the classes whose bit is set, each in its slot: src[2] and src[4 …] as below. How many they are.
ALWAYS_INLINE int planes_of_run(const struct ggml_tensor *result, uint32_t classes, const char **planes) {
  const int32_t *slots = (const int32_t *)result->src[2]->data + 2;
  int count = 0;
  for (int class = 0; classes >> class != 0; class++) {
    if (!(classes >> class & 1)) continue;
    planes[count] = plane_of_slot(result->src[4 + count], slots[class]);
    count++;
  }
  return count;
}

// result: y [outputs and others, rows and others] f32, in place; src[1]: quantised activations of all rows; src[2]: the first row, how
// many rows, and the slot of each class, i32; src[3]: the matrix; src[4 …]: the planes [inputs, outputs, slots] of those classes whose
// bit is set in `classes`. Writes the products to the outputs from `first_output` on, or adds them. Threads take strips.
ALWAYS_INLINE void multiply_merged(struct ggml_tensor *result, int thread, int threads, int adds, uint32_t classes,
                                   int64_t first_output, merge_panel *merge, pair_rows *multiply) {
  const struct ggml_tensor *quantized = result->src[1], *matrix = result->src[3];
  const int32_t *run = result->src[2]->data;
  const int64_t groups = matrix->ne[0] / group_inputs, strips = matrix->ne[1] / strip_outputs;
  const char *plane[merged_planes_max];
  const int planes = planes_of_run(result, classes, plane);
  const int64_t end = strips * (thread + 1) / threads;
  for (int64_t index = strips * thread / threads; index < end; index += 2) {
    const int count = end - index < 2 ? 1 : 2;
    for (int64_t first = 0; first < groups; first += panel_groups) {
      const int64_t own_groups = groups - first < panel_groups ? groups - first : panel_groups;
      struct strip_pair pair = {.y_apart = (size_t)(count - 1) * strip_outputs * sizeof(float)};
      struct merged_panel panels[2];
      for (int side = 0; side < count; side++) {
        pair.strips[side] = strip_from(strip_of(matrix, index + side), first);
        if (planes == 0) continue;
        struct sign_strip signs[merged_planes_max];
        for (int i = 0; i < planes; i++) {
          signs[i] = sign_strip_of(plane[i], matrix->ne[1], groups, index + side, first / block_groups);
        }
        merge(planes, pair.strips[side], signs, own_groups, &panels[side]);
        pair.strips[side] = (struct strip){panels[side].scales, panels[side].weights};
      }
      if (count == 1) pair.strips[1] = pair.strips[0];
      const size_t output = (size_t)(first_output + index * strip_outputs);
      const struct row_span y = {(char *)result->data + output * sizeof(float), result->nb[1]};
      multiply(run[0], run[1], adds || first > 0, pair, first, own_groups, quantized, y, pair.strips);
    }
  }
}

// Defines the operation of a kernel, `kindred_merged_NAME`, out of its `merge` and the `multiply_rows` of its base matrices. Its user
// data: bit 0 is 1 when products are added; from bit 1 on a bit a class; above 32 bits the first output.
#define MERGED_PLANES_KERNEL(NAME, TARGET)                                                              \
  TARGET void kindred_merged_##NAME(struct ggml_tensor *result, int thread, int threads, void *place) { \
    const uint64_t own = (uint64_t)(uintptr_t)place;                                                    \
    const uint32_t classes = (uint32_t)(own & 0xffffffff) >> 1;                                         \
    multiply_merged(result, thread, threads, own & 1, classes, (int64_t)(own >> 32), merge, multiply_rows); \
  }
