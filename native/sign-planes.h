// The product of sign planes, each row of activations with the plane of its own slot, added to what is there.
//
// A plane is ggml's q1_0: for each output a row of blocks, each of 128 weights that are +scale or −scale.
#pragma once
#include "activations.h"

struct sign_block {
  uint16_t scale;     // half float
  uint8_t signs[16];  // bit i % 8 of byte i / 8 is 1 where weight i is +scale
};

// Outputs computed side by side, and rows of one slot that are taken together: as many as stay in the first cache.
enum { tile_outputs = 4, shared_rows_max = 16 };

// Adds the products of `tile_outputs` outputs, or of one, with one row of activations to y.
typedef void sign_tile(const struct sign_block *outputs, int64_t blocks, const struct quantized_row *x, float *y);

// result: y [outputs and others, all rows] f32, in place; src[1]: quantised activations of all rows; src[2]: slots [rows] i32; src[3]:
// the planes [inputs, outputs, slots]. The slots belong to the rows from `first_row` on, and the outputs lie from `first_output` on.
// Threads take outputs, so no two write to one place, and rows of one slot follow each other while its weights are near.
ALWAYS_INLINE void add_sign_planes(struct ggml_tensor *result, int thread, int threads, int64_t first_row, int64_t first_output,
                                   sign_tile *four, sign_tile *one) {
  const struct ggml_tensor *quantized = result->src[1], *slots = result->src[2], *planes = result->src[3];
  const int32_t *slot_of = slots->data;
  const int64_t rows = slots->ne[0], outputs = planes->ne[1], blocks = planes->ne[0] / block_inputs;
  const int64_t tiles = (outputs + tile_outputs - 1) / tile_outputs;
  const int64_t begin = tiles * thread / threads * tile_outputs;
  const int64_t end = thread + 1 == threads ? outputs : tiles * (thread + 1) / threads * tile_outputs;

  for (int64_t row = 0; row < rows; row++) {
    int64_t earlier = 0;
    while (slot_of[earlier] != slot_of[row]) earlier++;
    if (earlier < row) continue;  // it was done with that one
    const char *plane = (const char *)planes->data + (size_t)slot_of[row] * planes->nb[2];
    for (int64_t next = row; next < rows;) {
      const struct quantized_row *x[shared_rows_max];
      float *y[shared_rows_max];
      int count = 0;
      for (; next < rows && count < shared_rows_max; next++) {
        if (slot_of[next] != slot_of[row]) continue;
        x[count] = quantized_row(quantized->data, blocks, first_row + next);
        y[count++] = (float *)((char *)result->data + (size_t)(first_row + next) * result->nb[1]) + first_output;
      }
      for (int64_t output = begin; output < end;) {
        const struct sign_block *weights = (const struct sign_block *)(plane + (size_t)output * planes->nb[1]);
        const int is_tile = output + tile_outputs <= end;
        for (int i = 0; i < count; i++) (is_tile ? four : one)(weights, blocks, x[i], y[i] + output);
        output += is_tile ? tile_outputs : 1;
      }
    }
  }
}

// Defines the operation of a kernel, `kindred_signs_NAME`, out of its `four_outputs` and `one_output`, all compiled for the same
// instructions. Its user data is the first row, and above 32 bits the first output.
#define SIGN_PLANE_KERNEL(NAME, TARGET)                                                               \
  TARGET void kindred_signs_##NAME(struct ggml_tensor *result, int thread, int threads, void *place) { \
    const uint64_t own = (uint64_t)(uintptr_t)place;                                                  \
    add_sign_planes(result, thread, threads, (int64_t)(own & 0xffffffff), (int64_t)(own >> 32), four_outputs, one_output); \
  }
