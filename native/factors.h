// Products of low-rank parts, each row of activations with the factors of its own slot: y += up · (down · x).
//
// Two operations, for threads cannot wait for each other within one: down · x of the rows as floats, and up · that, added to y. Both
// factors are matrices as ggml stores them, f16, q8_0 or q4_0, four of whose rows are turned into floats and multiplied with the activations
// of all rows that have this slot, as floats too. A row's sums are the same whichever rows are computed beside it.
//
// A template, over the registers of floats.h: `fours_at_once` rows are taken at a time.
#pragma once
#include "activations.h"
#include "floats.h"

// Weights of so many outputs, so many inputs of each, and rows of activations are multiplied at a time: whole blocks, in the first cache.
enum { factor_tile = 4, factor_inputs = 256, factor_rows = 32 };

// Rows by their slots: at first those of the first row's slot, then those of the next one that differs, and so on.
struct slot_walk {
  const int32_t *slot_of;
  int64_t rows, first, next;
};

// The next rows of one slot, at most `factor_rows`; 0 when there are no more.
ALWAYS_INLINE int next_rows(struct slot_walk *walk, int64_t *taken) {
  while (walk->first < walk->rows) {
    const int32_t slot = walk->slot_of[walk->first];
    int count = 0;
    for (; walk->next < walk->rows && count < factor_rows; walk->next++) {
      if (walk->slot_of[walk->next] == slot) taken[count++] = walk->next;
    }
    if (count > 0) return count;
    for (int is_new = 0; !is_new && ++walk->first < walk->rows;) {
      int64_t earlier = 0;
      while (walk->slot_of[earlier] != walk->slot_of[walk->first]) earlier++;
      is_new = earlier == walk->first;
    }
    walk->next = walk->first;
  }
  return 0;
}

// Bytes of as many weights, whole blocks.
ALWAYS_INLINE size_t factor_bytes(const int32_t type, int64_t weights) {
  if (type == type_f16) return (size_t)weights * sizeof(uint16_t);
  return (size_t)weights / 32 * (type == type_q8_0 ? sizeof(struct q8_0_block) : sizeof(struct q4_0_block));
}

// Weights that are read at a time: a register, or a block.
ALWAYS_INLINE int factor_step(const int32_t type) { return type == type_q8_0 || type == type_q4_0 ? 32 : lanes; }

// As many weights as are whole steps: all where rows are whole blocks.
ALWAYS_INLINE int64_t whole_steps(const int32_t type, int64_t count) {
  const int step = factor_step(type);
  return type == type_f16 ? count / step * step : (count + step - 1) / step * step;
}

// A register of the weights of a step, from `place` of it on; the step begins at number `at`.
TARGET ALWAYS_INLINE vec weights_at(const int32_t type, const char *row, int64_t at, const int place) {
  if (type == type_f32) return load((const float *)row + at);
  if (type == type_f16) return from_halves((const uint16_t *)row + at);
  if (type == type_q8_0) {
    const struct q8_0_block *own = (const struct q8_0_block *)row + at / 32;
    return multiply(splat(kindred_halves[own->scale]), from_bytes(own->values + place));
  }
  const struct q4_0_block *own = (const struct q4_0_block *)row + at / 32;
  return multiply(splat(kindred_halves[own->scale]), from_half_bytes(own->values + place % 16, place >= 16));
}

// Registers of four outputs' weights, times those of `rows` rows of activations.
TARGET ALWAYS_INLINE void add_products(vec sum[][factor_tile], const vec weight[factor_tile], const float *x, const int rows) {
  for (int r = 0; r < rows; r++) {
    const vec own = load(x + r * factor_inputs);
    for (int o = 0; o < factor_tile; o++) sum[r][o] = multiply_add(own, weight[o], sum[r][o]);
  }
}

// The products of four rows of weights with `rows` rows of activations, which lie `factor_inputs` apart and have
// zeros after `count` to the end of a block.
TARGET ALWAYS_INLINE void multiply_tile(const int32_t type, const char *const weights[factor_tile], int64_t count, const float *x,
                                        const int rows, float products[][factor_tile]) {
  vec sum[fours_at_once][factor_tile], weight[factor_tile];
  for (int r = 0; r < rows; r++)
    for (int o = 0; o < factor_tile; o++) sum[r][o] = splat(0.0f);
  int64_t at = 0;
  for (; at < whole_steps(type, count); at += factor_step(type)) {
    for (int place = 0; place < factor_step(type); place += lanes) {
      for (int o = 0; o < factor_tile; o++) weight[o] = weights_at(type, weights[o], at, place);
      add_products(sum, weight, x + at + place, rows);
    }
  }
  if (at < count) {
    for (int o = 0; o < factor_tile; o++) weight[o] = from_some_halves((const uint16_t *)weights[o] + at, count - at);
    add_products(sum, weight, x + at, rows);
  }
  for (int r = 0; r < rows; r++) sums(sum[r][0], sum[r][1], sum[r][2], sum[r][3], products[r]);
}

// As floats, for several rows of activations.
TARGET ALWAYS_INLINE void tile_as_floats(const int32_t type, const char *weights[factor_tile], int64_t count,
                                         float to[][factor_inputs]) {
  for (int o = 0; o < factor_tile; o++) {
    int64_t at = 0;
    for (; at < whole_steps(type, count); at += factor_step(type)) {
      for (int place = 0; place < factor_step(type); place += lanes) {
        store(to[o] + at + place, weights_at(type, weights[o], at, place));
      }
    }
    if (at < count) store(to[o] + at, from_some_halves((const uint16_t *)weights[o] + at, count - at));
    weights[o] = (const char *)to[o];
  }
}

// `factor_inputs` inputs of row number `row` of what is quantised, or what there is of it, as floats.
TARGET ALWAYS_INLINE void quantized_as_floats(const struct ggml_tensor *quantized, int64_t row, int64_t first, int64_t count, float *to) {
  const struct ggml_tensor *x = quantized->src[0];
  const struct row_chunk chunk = row_chunk(quantized->data, x->ne[0], x->ne[1], row);
  const char *group = chunk.groups + (size_t)(first / group_inputs) * group_bytes(chunk);
  for (int64_t at = 0; at < count; at += group_inputs, group += group_bytes(chunk)) {
    const int8_t *values = (const int8_t *)group + row % chunk_rows * group_inputs;
    const float step = group_steps(group, chunk)[row % chunk_rows];
    for (int i = 0; i < group_inputs; i++) to[at + i] = step * (float)values[i];
  }
}

// Inputs of a row of floats, and zeros to the end of a register or a block.
TARGET ALWAYS_INLINE void filled_floats(const float *from, int64_t count, float *to) {
  memcpy(to, from, (size_t)count * sizeof(float));
  for (; count % 32 != 0; count++) to[count] = 0.0f;
}

// Adds the products of factors of a type, or writes them. x: rows of a whole step, quantised, for `is_down`; else floats of the rows that
// slots are of. Row i of these goes to `y + i · y_bytes`. Threads share pairs of four outputs and the rows that have them in common.
TARGET ALWAYS_INLINE void multiply_factors(const int is_down, const int32_t type, const struct ggml_tensor *x, int64_t first_row,
                                           const struct ggml_tensor *slots, const struct ggml_tensor *factors, char *y,
                                           size_t y_bytes, int thread, int threads) {
  // Rows of `up` may be longer than what is multiplied with them.
  const int64_t inputs = is_down ? factors->ne[0] : x->ne[0], outputs = factors->ne[1];
  const int64_t tiles = (outputs + factor_tile - 1) / factor_tile;
  const struct slot_walk start = {slots->data, slots->ne[0], 0, 0};
  int64_t row[factor_rows], units = 0;
  for (struct slot_walk walk = start; next_rows(&walk, row) > 0;) units += tiles;
  const int64_t begin = units * thread / threads, end = units * (thread + 1) / threads;
  _Alignas(64) float own_x[factor_rows * factor_inputs], own_weights[factor_tile][factor_inputs];

  struct slot_walk walk = start;
  for (int64_t done = 0; done < end; done += tiles) {
    const int rows = next_rows(&walk, row);
    if (done + tiles <= begin) continue;
    const int64_t first_tile = begin > done ? begin - done : 0, end_tile = end - done < tiles ? end - done : tiles;
    const char *matrix = (const char *)factors->data + (size_t)walk.slot_of[row[0]] * factors->nb[2];
    for (int64_t first = 0; first < inputs; first += factor_inputs) {
      const int64_t count = inputs - first < factor_inputs ? inputs - first : factor_inputs;
      for (int r = 0; r < rows; r++) {
        float *to = own_x + r * factor_inputs;
        if (is_down) quantized_as_floats(x, first_row + row[r], first, count, to);
        else filled_floats((const float *)((const char *)x->data + (size_t)row[r] * x->nb[1]) + first, count, to);
      }
      const size_t tile_bytes = factor_tile * factor_bytes(type, count);
      const int adds = !is_down || first > 0;
      for (int64_t tile = first_tile; tile < end_tile; tile++) {
        const int64_t output = tile * factor_tile, left = outputs - output;
        const char *own = matrix + (size_t)output * factors->nb[1] + factor_bytes(type, first);
        for (size_t at = 0; at < tile_bytes; at += line_bytes) __builtin_prefetch(own + at + prefetch_bytes);
        const char *weights[factor_tile];
        // Beyond the last output the last one is computed again, and left there.
        for (int o = 0; o < factor_tile; o++) weights[o] = own + (size_t)(o < left ? o : left - 1) * factors->nb[1];
        float products[factor_rows][factor_tile];
        int r = 0;
        if (rows > 1) {
          tile_as_floats(type, weights, count, own_weights);
          for (; r + fours_at_once <= rows; r += fours_at_once)
            multiply_tile(type_f32, weights, count, own_x + r * factor_inputs, fours_at_once, products + r);
          for (; r < rows; r++) multiply_tile(type_f32, weights, count, own_x + r * factor_inputs, 1, products + r);
        }
        for (; r < rows; r++) multiply_tile(type, weights, count, own_x + r * factor_inputs, 1, products + r);
        for (r = 0; r < rows; r++) {
          float *to = (float *)(y + (size_t)row[r] * y_bytes) + output;
          if (adds && left >= factor_tile) for (int o = 0; o < factor_tile; o++) to[o] += products[r][o];
          else for (int o = 0; o < factor_tile && o < left; o++) to[o] = adds ? to[o] + products[r][o] : products[r][o];
        }
      }
    }
  }
}

TARGET ALWAYS_INLINE void multiply_any_factors(const int is_down, const struct ggml_tensor *x, int64_t first_row,
                                               const struct ggml_tensor *slots, const struct ggml_tensor *factors, char *y,
                                               size_t y_bytes, int thread, int threads) {
  if (factors->type == type_f16)
    multiply_factors(is_down, type_f16, x, first_row, slots, factors, y, y_bytes, thread, threads);
  else if (factors->type == type_q8_0)
    multiply_factors(is_down, type_q8_0, x, first_row, slots, factors, y, y_bytes, thread, threads);
  else
    multiply_factors(is_down, type_q4_0, x, first_row, slots, factors, y, y_bytes, thread, threads);
}

// Defines the operations of a kernel.
//
// kindred_factors_down_NAME   result: down · x [rank, rows] f32; src[0]: quantised activations of all rows; src[1]: slots [rows] i32;
//                             src[2]: down [inputs, rank, slots]. The user data is the first of these rows.
// kindred_factors_up_NAME     result: y [outputs and others, all rows] f32, in place; src[1]: what the other made; src[2]: slots; src[3]:
//                             up [rank, outputs, slots]. The user data is the first row, and above 32 bits the first output.
#define FACTOR_KERNEL(NAME)                                                                                             \
  TARGET void kindred_factors_down_##NAME(struct ggml_tensor *result, int thread, int threads, void *place) {           \
    struct ggml_tensor **src = result->src;                                                                             \
    const int64_t first_row = (int64_t)(intptr_t)place;                                                                 \
    multiply_any_factors(1, src[0], first_row, src[1], src[2], result->data, result->nb[1], thread, threads);           \
  }                                                                                                                     \
  TARGET void kindred_factors_up_##NAME(struct ggml_tensor *result, int thread, int threads, void *place) {             \
    const uint64_t own = (uint64_t)(uintptr_t)place;                                                                    \
    struct ggml_tensor **src = result->src;                                                                             \
    char *y = (char *)result->data + (size_t)(own & 0xffffffff) * result->nb[1] + (size_t)(own >> 32) * sizeof(float);  \
    multiply_any_factors(0, src[1], 0, src[2], src[3], y, result->nb[1], thread, threads);                              \
  }
