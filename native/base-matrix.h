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

enum { strip_outputs = 16, group_weights = strip_outputs * group_inputs };

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

// Rows of results, one after the other.
struct row_span {
  char *first;
  size_t bytes;
};

// Some rows of a chunk of activations: the first one's values in the first group of those that are multiplied.
struct row_tile {
  const char *values;
  int64_t before;      // rows of the chunk that lie before them
  int64_t chunk_rows;  // filled up
};

// The numbers of a tile's rows in the group that many groups after its first, one after the other.
struct row_numbers {
  const int32_t *offsets;
  const float *steps, *rests;
};

ALWAYS_INLINE const char *tile_values(struct row_tile x, int64_t group) {
  return x.values + (size_t)(group * x.chunk_rows) * row_group_bytes;
}

ALWAYS_INLINE struct row_numbers tile_numbers(struct row_tile x, int64_t group) {
  const char *values = tile_values(x, group);
  const int32_t *offsets = (const int32_t *)(values + (x.chunk_rows - x.before) * group_inputs) + x.before;
  const float *steps = (const float *)offsets + x.chunk_rows;
  return (struct row_numbers){offsets, steps, steps + x.chunk_rows};
}

ALWAYS_INLINE struct row_tile rows_from(struct row_tile x, int64_t row) {
  return (struct row_tile){x.values + row * group_inputs, x.before + row, x.chunk_rows};
}

// Two strips, of which the second may be the first once more, a piece of each; and of those to come next as much.
struct strip_pair {
  struct strip strips[2];
  size_t y_apart;  // bytes from the first one's results to the other's: none where it is the same
};

// Which weights of the next pair a tile asks for: so many lines a group, from that line on.
struct request {
  struct strip next[2];
  int64_t first_line;
  int lines_per_group;
};

// What a tile asks for in a group.
ALWAYS_INLINE void ask_ahead(struct request request, int64_t group) {
  const int64_t line = request.first_line + group * request.lines_per_group;
  for (int i = 0; i < request.lines_per_group; i++) {
    __builtin_prefetch(request.next[0].weights + (line + i) * line_bytes);
    __builtin_prefetch(request.next[1].weights + (line + i) * line_bytes);
  }
}

// Multiplies a pair of strips with `rows` rows of activations, at most tile_rows_max, and writes the products to y, or adds them.
typedef void pair_tile(int rows, int adds, struct strip_pair pair, int64_t groups, struct row_tile x, struct row_span y,
                       struct request request);

// Groups of a pair of strips that are multiplied at a time: as many as stay in the first cache while rows go by.
enum { piece_groups = 32 };

// Any number of rows from `first_row` on, a tile at a time, with a piece of a pair that begins at a group; y is the result of row 0.
typedef void pair_rows(int64_t first_row, int64_t rows, int adds, struct strip_pair pair, int64_t first_group, int64_t groups,
                       const struct ggml_tensor *quantized, struct row_span y, const struct strip next[2]);

ALWAYS_INLINE void multiply_tiles(int64_t first_row, int64_t rows, int adds, struct strip_pair pair, int64_t first_group, int64_t groups,
                                  const struct ggml_tensor *quantized, struct row_span y, const struct strip next[2], pair_tile *tile) {
  // What is quantised says how many rows there are.
  const int64_t inputs = quantized->src[0]->ne[0], all = quantized->src[0]->ne[1];
  const int64_t tiles = (rows + tile_rows_max - 1) / tile_rows_max;
  struct request request = {{next[0], next[1]}, 0, (int)((group_inputs / 4 + tiles - 1) / tiles)};
  for (int64_t row = first_row, left = rows; left > 0;) {
    const struct row_chunk chunk = row_chunk(quantized->data, inputs, all, row);
    const int64_t before = row % chunk_rows;
    int64_t count = chunk_rows - before < left ? chunk_rows - before : left;
    if (count > tile_rows_max) count = tile_rows_max;
    const struct row_tile x = {chunk.groups + (size_t)first_group * group_bytes(chunk) + before * group_inputs, before, chunk.rows};
    const struct row_span own_y = {y.first + (size_t)row * y.bytes, y.bytes};
    // The number of rows is known where a tile is compiled, so that all their sums stay in registers.
    switch (count) {
      case 1: tile(1, adds, pair, groups, x, own_y, request); break;
      case 2: tile(2, adds, pair, groups, x, own_y, request); break;
      case 3: tile(3, adds, pair, groups, x, own_y, request); break;
      case 4: tile(4, adds, pair, groups, x, own_y, request); break;
      case 5: tile(5, adds, pair, groups, x, own_y, request); break;
      case 6: tile(6, adds, pair, groups, x, own_y, request); break;
      case 7: tile(7, adds, pair, groups, x, own_y, request); break;
      default: tile(tile_rows_max, adds, pair, groups, x, own_y, request);
    }
    request.first_line += groups * request.lines_per_group;
    if (request.first_line >= groups * (group_inputs / 4)) request.lines_per_group = 0;
    row += count;
    left -= count;
  }
}

ALWAYS_INLINE struct strip strip_from(struct strip strip, int64_t group) {
  return (struct strip){strip.scales + group * strip_outputs, strip.weights + group * group_weights};
}

// Rows that are taken together: as many as stay in the second cache while all strips go by, whole chunks.
ALWAYS_INLINE int64_t rows_together(int64_t groups) {
  const int64_t chunks = (512 << 10) / (groups * chunk_rows * row_group_bytes);
  return chunk_rows * (chunks < 1 ? 1 : chunks);
}

// result: y [outputs of all matrices, rows] f32, from src[0] in place if it adds; then quantised activations of as many rows; then the
// matrices [inputs, own outputs], whose products lie side by side in y. Rows before `first_row` are left as they are. Threads take
// strips, so no two write to one place.
ALWAYS_INLINE void multiply_base(struct ggml_tensor *result, int thread, int threads, int adds, int64_t first_row, pair_rows *multiply) {
  const struct ggml_tensor *quantized = result->src[adds];
  const int64_t rows = result->ne[1], groups = result->src[adds + 1]->ne[0] / group_inputs;
  const int64_t strips = result->ne[0] / strip_outputs, together = rows_together(groups);
  const int64_t begin = strips * thread / threads, end = strips * (thread + 1) / threads;
  for (int64_t first = first_row; first < rows; first += together) {
    const int64_t count = rows - first < together ? rows - first : together;
    struct ggml_tensor *const *matrix = &result->src[adds + 1];
    int64_t before = 0;  // strips of earlier matrices
    struct strip_pair next = {0};
    for (int64_t index = begin - 2; index < end; index += 2) {
      const struct strip_pair pair = next;
      for (int i = 0; i < 2; i++) {
        const int64_t own = index + 2 + i;
        if (own >= end) {
          next.y_apart = 0;
          if (i == 1) next.strips[1] = next.strips[0];
          continue;
        }
        while (own - before >= (*matrix)->ne[1] / strip_outputs) before += (*matrix++)->ne[1] / strip_outputs;
        next.strips[i] = strip_of(*matrix, own - before);
        next.y_apart = i * strip_outputs * sizeof(float);
      }
      if (index < begin) continue;
      const struct row_span y = {(char *)result->data + (size_t)index * strip_outputs * sizeof(float), result->nb[1]};
      for (int64_t group = 0; group < groups; group += piece_groups) {
        const int64_t piece = groups - group < piece_groups ? groups - group : piece_groups, after = group + piece;
        const struct strip_pair own = {{strip_from(pair.strips[0], group), strip_from(pair.strips[1], group)}, pair.y_apart};
        const struct strip *from = after < groups ? pair.strips : next.strips;
        const struct strip asked[2] = {strip_from(from[0], after % groups), strip_from(from[1], after % groups)};
        multiply(first, count, adds || group > 0, own, group, piece, quantized, y, asked);
      }
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
  TARGET static void multiply_rows(int64_t first_row, int64_t rows, int adds, struct strip_pair pair, int64_t first_group, int64_t groups, \
                                   const struct ggml_tensor *quantized, struct row_span y, const struct strip next[2]) { \
    multiply_tiles(first_row, rows, adds, pair, first_group, groups, quantized, y, next, tile);          \
  }                                                                                                      \
  TARGET void kindred_multiply_##NAME(struct ggml_tensor *result, int thread, int threads, void *place) { \
    const uint64_t own = (uint64_t)(uintptr_t)place;                                                     \
    multiply_base(result, thread, threads, own & 1, (int64_t)(own >> 32), multiply_rows);                \
  }                                                                                                      \
  TARGET void kindred_look_up_##NAME(struct ggml_tensor *result, int thread, int threads, void *none) {  \
    (void)none;                                                                                          \
    look_up_base(result, thread, threads);                                                               \
  }
