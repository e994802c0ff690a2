// The base's matrices in 8 bits, 16 outputs side by side, and their products with quantised activations.
//
// A matrix is as large as ggml's q8_0 and means the same: each 32 weights of an output share a half-float scale. Bytes are weights
// plus 128, so that they are the unsigned operand of VNNI's instruction and activations, four at a time, the signed one.
//
//   matrix    strips of 16 outputs, one after the other
//   strip     scales of its groups, then weights of its groups; a group is 32 inputs
//   scales    16 × f16, one an output
//   weights   8 × 64 u8: of inputs 4k … 4k+3 those of the first output, of the second, …
#pragma once
#include "activations.h"

extern float kindred_halves[1 << 16];  // every half float as a float, by its bits

enum { strip_outputs = 16, group_weights = strip_outputs * group_inputs, tile_rows_max = 8, chunk_rows = 64 };

ALWAYS_INLINE size_t strip_bytes(int64_t groups) {
  return (size_t)groups * (strip_outputs * sizeof(uint16_t) + group_weights);
}

struct strip {
  const uint16_t *scales;
  const uint8_t *weights;
};

ALWAYS_INLINE struct strip strip_of(const struct ggml_tensor *matrix, int64_t index) {
  const int64_t groups = matrix->ne[0] / group_inputs;
  const char *first = (const char *)matrix->data + (size_t)index * strip_bytes(groups);
  return (struct strip){(const uint16_t *)first, (const uint8_t *)first + (size_t)groups * strip_outputs * sizeof(uint16_t)};
}

// Rows of activations or of results, one after the other.
struct row_span {
  char *first;
  size_t bytes;
};

// Where the first row's part in a group is; the other rows' are so many bytes further on.
struct group_place {
  const char *values, *offset, *step;
};

ALWAYS_INLINE struct group_place group_place(struct row_span x, int64_t group) {
  const int64_t own = group % block_groups;
  const char *block = x.first + sizeof(struct quantized_row) + (size_t)(group / block_groups) * sizeof(struct quantized_block);
  return (struct group_place){
      block + own * group_inputs,
      block + offsetof(struct quantized_block, offsets) + own * sizeof(int32_t),
      block + offsetof(struct quantized_block, steps) + own * sizeof(float),
  };
}

// Multiplies a strip with `rows` rows of activations, at most tile_rows_max, and writes the products to y, or adds them.
typedef void strip_tile(int rows, int adds, struct strip strip, int64_t groups, struct row_span x, struct row_span y);

// Any number of rows, a tile at a time.
typedef void strip_rows(int64_t rows, int adds, struct strip strip, int64_t groups, struct row_span x, struct row_span y);

ALWAYS_INLINE void multiply_tiles(int64_t rows, int adds, struct strip strip, int64_t groups, struct row_span x, struct row_span y,
                                  strip_tile *tile) {
  for (int64_t row = 0; row < rows; row += tile_rows_max) {
    const struct row_span own_x = {x.first + row * x.bytes, x.bytes}, own_y = {y.first + row * y.bytes, y.bytes};
    // The number of rows is known where a tile is compiled, so that all their sums stay in registers.
    switch (rows - row) {
      case 1: tile(1, adds, strip, groups, own_x, own_y); break;
      case 2: tile(2, adds, strip, groups, own_x, own_y); break;
      case 3: tile(3, adds, strip, groups, own_x, own_y); break;
      case 4: tile(4, adds, strip, groups, own_x, own_y); break;
      case 5: tile(5, adds, strip, groups, own_x, own_y); break;
      case 6: tile(6, adds, strip, groups, own_x, own_y); break;
      case 7: tile(7, adds, strip, groups, own_x, own_y); break;
      default: tile(tile_rows_max, adds, strip, groups, own_x, own_y);
    }
  }
}

// result: y [outputs of all matrices, rows] f32, from src[0] in place if it adds; then quantised activations of as many rows; then the
// matrices [inputs, own outputs], whose products lie side by side in y. Rows before `first_row` are left as they are. Threads take
// strips, so no two write to one place; a chunk of rows stays in the second cache while all strips go by.
ALWAYS_INLINE void multiply_base(struct ggml_tensor *result, int thread, int threads, int adds, int64_t first_row,
                                 strip_rows *multiply) {
  const struct ggml_tensor *quantized = result->src[adds];
  const int64_t rows = result->ne[1], inputs = result->src[adds + 1]->ne[0], groups = inputs / group_inputs;
  const int64_t blocks = (inputs + block_inputs - 1) / block_inputs;
  const int64_t strips = result->ne[0] / strip_outputs;
  const int64_t begin = strips * thread / threads, end = strips * (thread + 1) / threads;
  for (int64_t chunk = first_row; chunk < rows; chunk += chunk_rows) {
    const int64_t count = rows - chunk < chunk_rows ? rows - chunk : chunk_rows;
    const struct row_span x = {(char *)quantized_row(quantized->data, blocks, chunk), quantized_row_bytes(blocks)};
    struct ggml_tensor *const *matrix = &result->src[adds + 1];
    int64_t before = 0;  // strips of earlier matrices
    for (int64_t index = begin; index < end; index++) {
      while (index - before >= (*matrix)->ne[1] / strip_outputs) before += (*matrix++)->ne[1] / strip_outputs;
      char *y = (char *)result->data + (size_t)chunk * result->nb[1] + (size_t)index * strip_outputs * sizeof(float);
      multiply(count, adds, strip_of(*matrix, index - before), groups, x, (struct row_span){y, result->nb[1]});
    }
  }
}

// result: [inputs, rows] f32; src[0]: a matrix; src[1]: for each row an output of it, i32. Threads take rows in turn.
ALWAYS_INLINE void look_up_base(struct ggml_tensor *result, int thread, int threads) {
  const struct ggml_tensor *matrix = result->src[0];
  const int32_t *outputs = result->src[1]->data;
  const int64_t groups = matrix->ne[0] / group_inputs;
  for (int64_t row = thread; row < result->ne[1]; row += threads) {
    const struct strip strip = strip_of(matrix, outputs[row] / strip_outputs);
    const int lane = outputs[row] % strip_outputs;
    float *to = (float *)((char *)result->data + (size_t)row * result->nb[1]);
    for (int64_t group = 0; group < groups; group++) {
      const float scale = kindred_halves[strip.scales[group * strip_outputs + lane]];
      for (int i = 0; i < group_inputs; i++) {
        const uint8_t weight = strip.weights[group * group_weights + i / 4 * 64 + lane * 4 + i % 4];
        *to++ = scale * (float)(weight - 128);
      }
    }
  }
}

// Defines the operations of a kernel, `kindred_multiply_NAME` and `kindred_look_up_NAME`, and its `multiply_rows`, out of its `tile`, all
// compiled for the same instructions. The first takes as its user data whether it adds, 1 or 0, and above 32 bits the first row.
#define BASE_MATRIX_KERNEL(NAME, TARGET)                                                                 \
  TARGET static void multiply_rows(int64_t rows, int adds, struct strip strip, int64_t groups, struct row_span x, struct row_span y) { \
    multiply_tiles(rows, adds, strip, groups, x, y, tile);                                               \
  }                                                                                                      \
  TARGET void kindred_multiply_##NAME(struct ggml_tensor *result, int thread, int threads, void *place) { \
    const uint64_t own = (uint64_t)(uintptr_t)place;                                                     \
    multiply_base(result, thread, threads, own & 1, (int64_t)(own >> 32), multiply_rows);                \
  }                                                                                                      \
  TARGET void kindred_look_up_##NAME(struct ggml_tensor *result, int thread, int threads, void *none) {  \
    (void)none;                                                                                          \
    look_up_base(result, thread, threads);                                                               \
  }
