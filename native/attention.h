// Softmax attention of rows over the cells of their own sequences, from the first to the row's own and no further.
//
// This is a template: before it is included, a file has defined TARGET and, of the vectors that it works with,
//
//   vec, lanes                        a register of floats, and how many; a power of two, 16 at most
//   load(from), store(to, v), splat(x)
//   multiply_add(a, b, c)             a · b + c
//   sums(a, b, c, d, to)              the sum of each of four, side by side
//   from_halves(from)                 as many half floats
//
// Keys and values of a chunk of cells are turned into floats once for all queries that look at them: of neighbouring rows of a
// sequence, and of all heads that share a head of keys. Maxima and sums are kept from chunk to chunk (online softmax; Milakov and
// Gimelshein 2018).
#pragma once
#include <math.h>
#include <string.h>
#include "exponential.h"

enum { chunk_cells = 32, tile_rows = 8, head_max = 256, queries_max = 32, prefetch_cells = 16 };

enum { type_f32 = 0, type_f16 = 1, type_q8_0 = 8 };

struct q8_0_block {
  uint16_t scale;  // half float
  int8_t values[32];
};

// A tile's queries and what became of them so far.
struct attention {
  // Each head in `padded` floats, whole registers from a boundary on: a register that crosses one takes two reads.
  _Alignas(64) float query[queries_max * head_max];
  _Alignas(64) float sum[queries_max * head_max];
  _Alignas(64) float keys[chunk_cells * head_max];
  _Alignas(64) float values[chunk_cells * head_max];
  int64_t padded;
  float largest[queries_max], weight[queries_max];
  int64_t first[queries_max], end[queries_max];  // the cells that a query looks at
};

// One head of one cell as floats, filled up with zeros to whole registers.
TARGET ALWAYS_INLINE void cell_as_floats(int32_t type, const char *from, int64_t count, int64_t padded, float *to) {
  for (int64_t i = count; i < padded; i++) to[i] = 0.0f;
  if (type == type_f32) {
    memcpy(to, from, (size_t)count * sizeof(float));
  } else if (type == type_f16) {
    int64_t i = 0;
    for (; i + lanes <= count; i += lanes) store(to + i, from_halves((const uint16_t *)from + i));
    for (; i < count; i++) to[i] = kindred_halves[((const uint16_t *)from)[i]];
  } else {
    const struct q8_0_block *blocks = (const struct q8_0_block *)from;
    for (int64_t block = 0; block < count / 32; block++) {
      const float scale = kindred_halves[blocks[block].scale];
      for (int i = 0; i < 32; i++) to[block * 32 + i] = scale * (float)blocks[block].values[i];
    }
  }
}

// e^x for x ≤ 0, and 0 below −87.
TARGET ALWAYS_INLINE void exponentials(float *x, int count) {
  for (int i = 0; i < count; i++) x[i] = x[i] < -87.0f ? 0.0f : exponential(x[i]);
}

// Scores of a query against the cells of the chunk, of which the first `cells` are there.
TARGET ALWAYS_INLINE void scores_of(const struct attention *own, const float *query, int64_t cells, float *scores) {
  const int64_t padded = own->padded;
  // Eight at a time, for a sum must wait for the one before it.
  for (int64_t cell = 0; cell < cells; cell += 8) {
    const float *keys = own->keys + cell * padded;
    vec s0 = splat(0.0f), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
    for (int64_t i = 0; i < padded; i += lanes) {
      const vec q = load(query + i);
      const float *key = keys + i;
      s0 = multiply_add(q, load(key), s0);
      s1 = multiply_add(q, load(key + padded), s1);
      s2 = multiply_add(q, load(key + 2 * padded), s2);
      s3 = multiply_add(q, load(key + 3 * padded), s3);
      s4 = multiply_add(q, load(key + 4 * padded), s4);
      s5 = multiply_add(q, load(key + 5 * padded), s5);
      s6 = multiply_add(q, load(key + 6 * padded), s6);
      s7 = multiply_add(q, load(key + 7 * padded), s7);
    }
    sums(s0, s1, s2, s3, scores + cell);
    sums(s4, s5, s6, s7, scores + cell + 4);
  }
}

// Values of the first `cells` cells of the chunk, each by its weight, added to what the query has. `cells` is even: weights beyond
// those that are there are 0.
TARGET ALWAYS_INLINE void add_values(struct attention *own, float *sum, int64_t cells, const float *weights) {
  const int64_t padded = own->padded;
  int64_t i = 0;
  for (; i + 4 * lanes <= padded; i += 4 * lanes) {
    float *to = sum + i;
    vec a0 = load(to), a1 = load(to + lanes), a2 = load(to + 2 * lanes), a3 = load(to + 3 * lanes);
    vec b0 = splat(0.0f), b1 = b0, b2 = b0, b3 = b0;
    for (int64_t cell = 0; cell < cells; cell += 2) {
      const vec even = splat(weights[cell]), odd = splat(weights[cell + 1]);
      const float *from = own->values + cell * padded + i, *next = from + padded;
      a0 = multiply_add(even, load(from), a0);
      a1 = multiply_add(even, load(from + lanes), a1);
      a2 = multiply_add(even, load(from + 2 * lanes), a2);
      a3 = multiply_add(even, load(from + 3 * lanes), a3);
      b0 = multiply_add(odd, load(next), b0);
      b1 = multiply_add(odd, load(next + lanes), b1);
      b2 = multiply_add(odd, load(next + 2 * lanes), b2);
      b3 = multiply_add(odd, load(next + 3 * lanes), b3);
    }
    const vec one = splat(1.0f);
    store(to, multiply_add(b0, one, a0));
    store(to + lanes, multiply_add(b1, one, a1));
    store(to + 2 * lanes, multiply_add(b2, one, a2));
    store(to + 3 * lanes, multiply_add(b3, one, a3));
  }
  for (; i < padded; i += lanes) {
    vec a = load(sum + i);
    const float *from = own->values + i;
    for (int64_t cell = 0; cell < cells; cell++) a = multiply_add(splat(weights[cell]), load(from + cell * padded), a);
    store(sum + i, a);
  }
}

// A query against one chunk, which begins at cell `chunk` of the sequence. What lies beyond the end of the sequence in keys and values
// is zeros or cells of an earlier chunk: numbers, which a weight of 0 leaves out.
TARGET ALWAYS_INLINE void attend_to_chunk(struct attention *own, int query, int64_t chunk) {
  const int64_t begin = own->first[query] > chunk ? own->first[query] - chunk : 0;
  const int64_t end = own->end[query] < chunk + chunk_cells ? own->end[query] - chunk : chunk_cells;
  if (begin >= end) return;
  const int64_t cells = (end + 7) / 8 * 8;
  float *sum = own->sum + query * own->padded;
  float weights[chunk_cells], most[8], totals[8] = {0};
  scores_of(own, own->query + query * own->padded, cells, weights);
  for (int64_t i = 0; i < begin; i++) weights[i] = -INFINITY;
  for (int64_t i = end; i < chunk_cells; i++) weights[i] = -INFINITY;
  for (int i = 0; i < 8; i++) most[i] = own->largest[query];
  for (int first = 0; first < chunk_cells; first += 8)
    for (int i = 0; i < 8; i++) most[i] = weights[first + i] > most[i] ? weights[first + i] : most[i];
  float largest = most[0];
  for (int i = 1; i < 8; i++) largest = most[i] > largest ? most[i] : largest;
  if (largest > own->largest[query]) {
    float shrink = own->largest[query] - largest;
    exponentials(&shrink, 1);
    own->weight[query] *= shrink;
    for (int64_t i = 0; i < own->padded; i++) sum[i] *= shrink;
    own->largest[query] = largest;
  }
  for (int i = 0; i < chunk_cells; i++) weights[i] -= largest;
  exponentials(weights, chunk_cells);
  for (int first = 0; first < chunk_cells; first += 8)
    for (int i = 0; i < 8; i++) totals[i] += weights[first + i];
  for (int i = 0; i < 8; i++) own->weight[query] += totals[i];
  add_values(own, sum, cells, weights);
}

// result: [head_dim · heads, rows] f32. src[0]: queries [head_dim, heads, rows] f32. src[1], src[2]: keys and values of all cells
// [head_dim, kv_heads, cells]. src[3]: each row's position in its sequence [rows] i32. src[4]: the cell of the row itself [rows]
// i64, before which the others of its sequence lie. A row looks at the last `window` cells, or at all if that is 0.
//
// Threads share the (row, head) pairs by how many cells each looks at.
TARGET ALWAYS_INLINE void attend_rows(struct ggml_tensor *result, int thread, int threads, int64_t window) {
  const struct ggml_tensor *q = result->src[0], *k = result->src[1], *v = result->src[2];
  const int32_t *position = result->src[3]->data;
  const int64_t *cell_of = result->src[4]->data;
  const int64_t head_dim = q->ne[0], heads = q->ne[1], rows = q->ne[2];
  const int64_t kv_heads = k->ne[1], shared = heads / kv_heads;
  const int64_t padded = (head_dim + lanes - 1) / lanes * lanes;
  const float scale = 1.0f / sqrtf((float)head_dim);
  struct attention own;
  own.padded = padded;
  memset(own.keys, 0, sizeof(float) * (size_t)(chunk_cells * padded));
  memset(own.values, 0, sizeof(float) * (size_t)(chunk_cells * padded));

  int64_t total = 0;
  for (int64_t row = 0; row < rows; row++) total += position[row] + 1;
  total *= heads;
  const int64_t begin = total * thread / threads, end = total * (thread + 1) / threads;

  int64_t done = 0;  // cells that the pairs before this tile look at
  for (int64_t row = 0; row < rows;) {
    const int64_t start = cell_of[row] - position[row];
    int64_t tile = 1, pair = position[row] + 1;
    while (tile < tile_rows && row + tile < rows && cell_of[row + tile] - position[row + tile] == start)
      pair += position[row + tile++] + 1;
    // A pair of tile and head is of the thread in whose share it begins.
    int64_t head = done >= begin ? 0 : (begin - done + pair - 1) / pair;
    while (head < heads && done + head * pair < end) {
      const int64_t kv_head = head / shared;
      int count = 0;
      int64_t last = head, low = INT64_MAX, high = 0;
      for (; last < heads && last / shared == kv_head && done + last * pair < end && count + tile <= queries_max; last++) {
        for (int64_t i = 0; i < tile; i++, count++) {
          const float *from = (const float *)((const char *)q->data + (size_t)(row + i) * q->nb[2] + (size_t)last * q->nb[1]);
          for (int64_t d = 0; d < head_dim; d++) own.query[count * padded + d] = from[d] * scale;
          for (int64_t d = head_dim; d < padded; d++) own.query[count * padded + d] = 0.0f;
          for (int64_t d = 0; d < padded; d++) own.sum[count * padded + d] = 0.0f;
          own.largest[count] = -INFINITY;
          own.weight[count] = 0.0f;
          own.end[count] = position[row + i] + 1;
          own.first[count] = window > 0 && own.end[count] > window ? own.end[count] - window : 0;
          low = own.first[count] < low ? own.first[count] : low;
          high = own.end[count] > high ? own.end[count] : high;
        }
      }
      for (int64_t chunk = low / chunk_cells * chunk_cells; chunk < high; chunk += chunk_cells) {
        const int64_t cells = high - chunk < chunk_cells ? high - chunk : chunk_cells;
        for (int64_t cell = 0; cell < cells; cell++) {
          const size_t at = (size_t)(start + chunk + cell);
          const char *key = (const char *)k->data + at * k->nb[2] + (size_t)kv_head * k->nb[1];
          const char *value = (const char *)v->data + at * v->nb[2] + (size_t)kv_head * v->nb[1];
          __builtin_prefetch(key + prefetch_cells * k->nb[2]);
          __builtin_prefetch(value + prefetch_cells * v->nb[2]);
          cell_as_floats(k->type, key, head_dim, padded, own.keys + cell * padded);
          cell_as_floats(v->type, value, head_dim, padded, own.values + cell * padded);
        }
        for (int query = 0; query < count; query++) attend_to_chunk(&own, query, chunk);
      }
      for (int query = 0; query < count; query++) {
        float *of_row = (float *)((char *)result->data + (size_t)(row + query % tile) * result->nb[1]);
        float *to = of_row + (head + query / tile) * head_dim;
        const float inverse = 1.0f / own.weight[query];
        for (int64_t d = 0; d < head_dim; d++) to[d] = own.sum[query * padded + d] * inverse;
      }
      head = last;
    }
    done += pair * heads;
    row += tile;
  }
}

// Defines the operation of a kernel, `kindred_attend_NAME`. Its user data is the window.
#define ATTENTION_KERNEL(NAME)                                                                            \
  TARGET void kindred_attend_##NAME(struct ggml_tensor *result, int thread, int threads, void *window) { \
    attend_rows(result, thread, threads, (int64_t)(intptr_t)window);                                      \
  }
