// Stored matrices to base matrices: blocks of q8_0 change places, and floats are rounded as ggml rounds them to q8_0, but for ties.
#pragma once
#include "base-matrix.h"

// By ggml's numbers.
enum stored_type { stored_f32 = 0, stored_f16 = 1, stored_q8_0 = 8, stored_bf16 = 30 };

struct stored_block {
  uint16_t scale;
  int8_t weights[group_inputs];
};

// The nearest half float to a finite value that is not negative.
ALWAYS_INLINE uint16_t half_of(float value) {
  if (value >= 65520.0f) return 0x7c00;
  // Below 2^-14 halves are multiples of 2^-24; added to 0.5, a float keeps just those digits.
  const float magic = value < 0x1p-14f ? value + 0.5f : value;
  uint32_t bits;
  memcpy(&bits, &magic, sizeof bits);
  if (value < 0x1p-14f) return (uint16_t)(bits - 0x3f000000u);
  bits += 0xfff + ((bits >> 13) & 1);
  return (uint16_t)((bits - 0x38000000u) >> 13);
}

ALWAYS_INLINE void read_floats(const void *from, int type, float *values) {
  if (type == stored_f32) memcpy(values, from, group_inputs * sizeof(float));
  const uint16_t *halves = from;
  if (type == stored_f16) {
    for (int i = 0; i < group_inputs; i++) values[i] = kindred_halves[halves[i]];
  }
  if (type == stored_bf16) {
    uint32_t bits[group_inputs];
    for (int i = 0; i < group_inputs; i++) bits[i] = (uint32_t)halves[i] << 16;
    memcpy(values, bits, sizeof bits);
  }
}

ALWAYS_INLINE void read_block(const void *from, int type, struct stored_block *block) {
  if (type == stored_q8_0) {
    memcpy(block, from, sizeof *block);
    return;
  }
  float values[group_inputs];
  read_floats(from, type, values);
  const float step = largest(values, group_inputs) / 127.0f, inverse = step > 0.0f ? 1.0f / step : 0.0f;
  block->scale = half_of(step);
  for (int i = 0; i < group_inputs; i++) block->weights[i] = (int8_t)(int32_t)rintf(values[i] * inverse);
}

// `from`: rows of one stored type, `outputs` of them, each of `inputs` values without gaps.
ALWAYS_INLINE void interleave(char *to, const char *from, int type, int64_t inputs, int64_t outputs) {
  const int64_t groups = inputs / group_inputs;
  const size_t block_bytes = type == stored_q8_0 ? sizeof(struct stored_block) : group_inputs * (type == stored_f32 ? 4 : 2);
  for (int64_t first = 0; first < outputs; first += strip_outputs, to += strip_bytes(groups)) {
    uint16_t *scales = (uint16_t *)to;
    uint8_t *weights = (uint8_t *)(scales + groups * strip_outputs);
    for (int lane = 0; lane < strip_outputs; lane++) {
      const char *row = from + (size_t)((first + lane) * groups) * block_bytes;
      for (int64_t group = 0; group < groups; group++) {
        struct stored_block block;
        read_block(row + (size_t)group * block_bytes, type, &block);
        scales[group * strip_outputs + lane] = block.scale;
        uint8_t raised[group_inputs];
        for (int i = 0; i < group_inputs; i++) raised[i] = (uint8_t)(block.weights[i] ^ 0x80);
        uint8_t *own = weights + group * group_weights + lane * 4;
        for (int k = 0; k < group_inputs / 4; k++) memcpy(own + 64 * k, raised + 4 * k, 4);
      }
    }
  }
}

// Defines `kindred_interleave_NAME`. The type is known where the loops are compiled.
#define INTERLEAVE_KERNEL(NAME, TARGET)                                                                     \
  TARGET void kindred_interleave_##NAME(void *to, const void *from, int type, int64_t inputs, int64_t outputs) { \
    switch (type) {                                                                                         \
      case stored_f32: interleave(to, from, stored_f32, inputs, outputs); break;                            \
      case stored_f16: interleave(to, from, stored_f16, inputs, outputs); break;                            \
      case stored_bf16: interleave(to, from, stored_bf16, inputs, outputs); break;                          \
      default: interleave(to, from, stored_q8_0, inputs, outputs);                                          \
    }                                                                                                       \
  }
