// Sign planes, 16 outputs side by side, and their products with tabulated sums of activations.
//
// A plane is as large as ggml's q1_0 and means the same: 128 weights of an output, a block, are +scale or −scale. As the base's, it
// consists of strips of 16 outputs.
//
//   plane     scales of all strips, then signs of all strips
//   scales    a block after the other: 16 × f16, one an output
//   signs     a group of 32 inputs after the other, as many as there are inputs for, 64 bytes: four times one byte of each output
//   byte      the g-th of an output: signs of inputs 4g … 4g+3 in the lower half, of 4g+16 … 4g+19 in the upper; 1 is +scale
//
// So 16 bytes are 16 outputs' places in one table, and in another. Groups that only fill a block up are left out, which leaves bytes over
// at the end; kernels read whole blocks all the same, for the tables of such groups are zeros.
#pragma once
#include "base-matrix.h"
#include "sign-tables.h"

// As ggml has them.
struct sign_block {
  uint16_t scale;     // half float
  uint8_t signs[16];  // bit i % 8 of byte i / 8 is 1 where weight i is +scale
};

// Rows of one slot that are taken together: as many as stay in the second cache.
enum { shared_rows_max = 16, group_signs = strip_outputs * group_inputs / 8, block_signs = group_signs * block_groups };

struct sign_strip {
  const uint16_t *scales;
  const uint8_t *signs;
};

ALWAYS_INLINE int64_t blocks_of(int64_t groups) { return (groups + block_groups - 1) / block_groups; }

// A strip from one of its blocks on, of a plane with so many groups.
ALWAYS_INLINE struct sign_strip sign_strip_of(const char *plane, int64_t outputs, int64_t groups, int64_t index, int64_t block) {
  const int64_t blocks = blocks_of(groups);
  const uint8_t *signs = (const uint8_t *)plane + (size_t)(outputs * blocks) * sizeof(uint16_t);
  return (struct sign_strip){
      (const uint16_t *)plane + (index * blocks + block) * strip_outputs,
      signs + (index * groups + block * block_groups) * group_signs,
  };
}

ALWAYS_INLINE const char *plane_of_slot(const struct ggml_tensor *pool, int64_t slot) {
  return (const char *)pool->data + (size_t)slot * pool->nb[2];
}

// The signs of an output's group: bit i is that of input i.
ALWAYS_INLINE uint32_t signs_of(const uint8_t *group, int lane) {
  uint32_t bits = 0;
  for (int g = 0; g < 4; g++) {
    const uint32_t byte = group[g * strip_outputs + lane];
    bits |= (byte & 15) << 4 * g | byte >> 4 << (4 * g + 16);
  }
  return bits;
}

// Adds the products of a strip with one row of activations to y.
typedef void sign_product(struct sign_strip strip, int64_t blocks, const struct sign_tables *x, float *y);

// result: y [outputs and others, all rows] f32, in place; src[1]: quantised activations of all rows, with tables of these; src[2]: slots
// [rows] i32; src[3]: the planes [inputs, outputs, slots]. The slots belong to the rows from `first_row` on, and the outputs lie from
// `first_output` on. Threads take strips, so no two write to one place, and a strip's rows follow each other.
ALWAYS_INLINE void add_sign_planes(struct ggml_tensor *result, int thread, int threads, int64_t first_row, int64_t first_output,
                                   sign_product *multiply) {
  const struct ggml_tensor *quantized = result->src[1], *slots = result->src[2], *pool = result->src[3];
  const int32_t *slot_of = slots->data;
  const int64_t rows = slots->ne[0], outputs = pool->ne[1], blocks = pool->ne[0] / block_inputs, strips = outputs / strip_outputs;
  const int64_t begin = strips * thread / threads, end = strips * (thread + 1) / threads;

  for (int64_t row = 0; row < rows; row++) {
    int64_t earlier = 0;
    while (slot_of[earlier] != slot_of[row]) earlier++;
    if (earlier < row) continue;  // it was done with that one
    const char *plane = plane_of_slot(pool, slot_of[row]);
    for (int64_t next = row; next < rows;) {
      const struct sign_tables *x[shared_rows_max];
      float *y[shared_rows_max];
      int count = 0;
      for (; next < rows && count < shared_rows_max; next++) {
        if (slot_of[next] != slot_of[row]) continue;
        x[count] = tables_of(quantized, first_row + next);
        y[count++] = (float *)((char *)result->data + (size_t)(first_row + next) * result->nb[1]) + first_output;
      }
      for (int64_t index = begin; index < end; index++) {
        const struct sign_strip strip = sign_strip_of(plane, outputs, x[0]->groups, index, 0);
        for (int i = 0; i < count; i++) multiply(strip, blocks, x[i], y[i] + index * strip_outputs);
      }
    }
  }
}

// Defines the operation of a kernel, `kindred_signs_NAME`, out of its `multiply_strip`, both compiled for the same instructions. Its user
// data is the first row, and above 32 bits the first output.
#define SIGN_PLANE_KERNEL(NAME, TARGET)                                                               \
  TARGET void kindred_signs_##NAME(struct ggml_tensor *result, int thread, int threads, void *place) { \
    const uint64_t own = (uint64_t)(uintptr_t)place;                                                  \
    add_sign_planes(result, thread, threads, (int64_t)(own & 0xffffffff), (int64_t)(own >> 32), multiply_strip); \
  }
