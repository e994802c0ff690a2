// Softmax attention of rows over the cells of their own sequences, from the first to the row's own and no further.
//
// A template, over the registers of floats.h: `fours_at_once` queries are taken at a time.
//
// Keys and values of a chunk of cells are turned into floats once for all queries that look at them: of neighbouring rows of a
// sequence, and of all heads that share a head of keys. As many of these as a register has lanes lie side by side in it, and need no
// sums across registers; what is left is taken a few at a time. Both add up in the same order, so that a row's numbers do not depend
// on how many others are there. Maxima and sums are kept from chunk to chunk (online softmax; Milakov and
// Gimelshein 2018).
#pragma once
#include <math.h>
#include "exponential.h"
#include "floats.h"

enum { chunk_cells = 32, tile_rows = 16, head_max = 256, queries_max = 64 };

// A tile's queries and what became of them so far.
struct attention {
  // Each head in `padded` floats, whole registers from a boundary on: a register that crosses one takes two reads. Queries that are
  // taken side by side lie as in [padded][lanes].
  _Alignas(64) float query[queries_max * head_max];
  _Alignas(64) float sum[queries_max * head_max];
  _Alignas(64) float keys[chunk_cells * head_max];
  _Alignas(64) float values[chunk_cells * head_max];
  int64_t padded;
  int side_by_side;  // so many of the queries, the first ones
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

// Scores of `count` queries against the first `cells` cells of the chunk, four at a time.
TARGET ALWAYS_INLINE void scores_of(const struct attention *own, int query, const int count, int64_t cells,
                                    float scores[][chunk_cells]) {
  const int64_t padded = own->padded;
  const float *queries = own->query + query * padded;
  for (int64_t cell = 0; cell < cells; cell += 4) {
    const float *keys = own->keys + cell * padded;
    vec sum[fours_at_once][4];
    for (int q = 0; q < count; q++)
      for (int c = 0; c < 4; c++) sum[q][c] = splat(0.0f);
    for (int64_t i = 0; i < padded; i += lanes) {
      vec key[4];
      for (int c = 0; c < 4; c++) key[c] = load(keys + c * padded + i);
      for (int q = 0; q < count; q++) {
        const vec x = load(queries + q * padded + i);
        for (int c = 0; c < 4; c++) sum[q][c] = multiply_add(x, key[c], sum[q][c]);
      }
    }
    for (int q = 0; q < count; q++) sums(sum[q][0], sum[q][1], sum[q][2], sum[q][3], scores[q] + cell);
  }
}

// Values of the first `cells` cells of the chunk, each by its weight, added to what `count` queries have.
TARGET ALWAYS_INLINE void add_values(struct attention *own, int query, const int count, int64_t cells,
                                     float weights[][chunk_cells]) {
  const int64_t padded = own->padded;
  float *sums_of = own->sum + query * padded;
  for (int64_t i = 0; i < padded; i += 4 * lanes) {
    const int registers = padded - i < 4 * lanes ? (int)((padded - i) / lanes) : 4;
    if (registers == 4) {
      vec sum[fours_at_once][4];
      for (int q = 0; q < count; q++)
        for (int r = 0; r < 4; r++) sum[q][r] = load(sums_of + q * padded + i + r * lanes);
      for (int64_t cell = 0; cell < cells; cell++) {
        const float *values = own->values + cell * padded + i;
        vec value[4];
        for (int r = 0; r < 4; r++) value[r] = load(values + r * lanes);
        for (int q = 0; q < count; q++) {
          const vec weight = splat(weights[q][cell]);
          for (int r = 0; r < 4; r++) sum[q][r] = multiply_add(weight, value[r], sum[q][r]);
        }
      }
      for (int q = 0; q < count; q++)
        for (int r = 0; r < 4; r++) store(sums_of + q * padded + i + r * lanes, sum[q][r]);
      continue;
    }
    for (int q = 0; q < count; q++) {
      for (int r = 0; r < registers; r++) {
        float *to = sums_of + q * padded + i + r * lanes;
        const float *values = own->values + i + r * lanes;
        vec sum = load(to);
        for (int64_t cell = 0; cell < cells; cell++) sum = multiply_add(splat(weights[q][cell]), load(values + cell * padded), sum);
        store(to, sum);
      }
    }
  }
}

// A query's scores of one chunk to weights, of the cells from `begin` to `end`, 0 for all others: its largest score and its sums are
// those of this chunk too then.
TARGET ALWAYS_INLINE void weigh_scores(struct attention *own, int query, int64_t begin, int64_t end, float *weights) {
  float most[8], totals[8] = {0};
  for (int64_t i = 0; i < begin; i++) weights[i] = -INFINITY;
  for (int64_t i = end; i < chunk_cells; i++) weights[i] = -INFINITY;
  // Eight side by side, since compilers do not change the order of comparisons and sums.
  for (int i = 0; i < 8; i++) most[i] = own->largest[query];
  for (int first = 0; first < chunk_cells; first += 8)
    for (int i = 0; i < 8; i++) most[i] = weights[first + i] > most[i] ? weights[first + i] : most[i];
  float largest = most[0];
  for (int i = 1; i < 8; i++) largest = most[i] > largest ? most[i] : largest;
  float shrink = own->largest[query] - largest;
  exponentials(&shrink, 1);
  if (largest > own->largest[query]) {
    for (int64_t i = 0; i < own->padded; i++) own->sum[query * own->padded + i] *= shrink;
    own->largest[query] = largest;
  }
  for (int i = 0; i < chunk_cells; i++) weights[i] -= largest;
  exponentials(weights, chunk_cells);
  for (int first = 0; first < chunk_cells; first += 8)
    for (int i = 0; i < 8; i++) totals[i] += weights[first + i];
  float weight = fmaf(own->weight[query], shrink, totals[0]);
  for (int i = 1; i < 8; i++) weight += totals[i];
  own->weight[query] = weight;
}

// `count` queries, against one chunk, which begins at cell `chunk` of the sequence. What lies beyond the end
// of the sequence in keys and values is zeros or cells of an earlier chunk: numbers, which a weight of 0 leaves out.
TARGET ALWAYS_INLINE void attend_to_chunk(struct attention *own, int query, const int count, int64_t chunk) {
  float weights[fours_at_once][chunk_cells];
  int64_t cells = 0;
  for (int q = query; q < query + count; q++) {
    const int64_t end = own->end[q] - chunk;
    cells = end > cells ? end : cells;
  }
  if (cells <= 0) return;
  cells = cells > chunk_cells ? chunk_cells : (cells + 3) / 4 * 4;
  scores_of(own, query, count, cells, weights);
  for (int q = 0; q < count; q++) {
    const int64_t first = own->first[query + q] - chunk, end = own->end[query + q] - chunk;
    // A query that looks at nothing here must not take −∞ for its largest score.
    if (end <= 0 || first >= chunk_cells) memset(weights[q], 0, sizeof weights[q]);
    else weigh_scores(own, query + q, first < 0 ? 0 : first, end < chunk_cells ? end : chunk_cells, weights[q]);
  }
  add_values(own, query, count, cells, weights);
}

// Scores of queries side by side against four cells: [4][lanes].
TARGET ALWAYS_INLINE void scores_side_by_side(const float *queries, const float *keys, int64_t padded, float *scores) {
  enum { fours = lanes / 4 };
  vec four[4][4];
  if (fours == 0) return;
#pragma GCC unroll 4
  for (int at = 0; at < fours; at++) {
    vec part[4][4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
      for (int c = 0; c < 4; c++) part[i][c] = splat(0.0f);
    for (int64_t d = 4 * at; d < padded; d += lanes) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        const vec x = load(queries + (d + i) * lanes);
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) part[i][c] = multiply_add(x, splat(keys[c * padded + d + i]), part[i][c]);
      }
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) four[at][c] = (part[0][c] + part[partner][c]) + (part[3 - partner][c] + part[3][c]);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; c++) {
    vec all = four[0][c];
    if (fours > 2) all += four[2][c];
    if (fours > 2) four[1][c] += four[3][c];
    if (fours > 1) all += four[1][c];
    store(scores + c * lanes, all);
  }
}

// As many queries as a register has lanes, against one chunk, as `attend_to_chunk` does it.
TARGET static void attend_side_by_side(struct attention *own, int query, int64_t chunk) {
  const int64_t padded = own->padded;
  // Behind the weights, by what all that was added up before is to be multiplied.
  float weights[(chunk_cells + 1) * lanes] __attribute__((aligned(64)));
  float totals[8][lanes] __attribute__((aligned(64)));
  int32_t begin[lanes], end[lanes];
  int64_t cells = 0;
  int is_whole = 1;
  for (int lane = 0; lane < lanes; lane++) {
    const int64_t first = own->first[query + lane] - chunk, last = own->end[query + lane] - chunk;
    begin[lane] = first < 0 ? 0 : first > chunk_cells ? chunk_cells : (int32_t)first;
    end[lane] = last < 0 ? 0 : last > chunk_cells ? chunk_cells : (int32_t)last;
    is_whole = is_whole && begin[lane] == 0 && end[lane] == chunk_cells;
    cells = end[lane] > cells ? end[lane] : cells;
  }
  if (cells == 0) return;
  cells = (cells + 3) / 4 * 4;
  for (int64_t cell = 0; cell < cells; cell += 4) {
    scores_side_by_side(own->query + query * padded, own->keys + cell * padded, padded, weights + cell * lanes);
  }
  for (int cell = 0; cell < cells && !is_whole; cell++) {
    float *scores = weights + cell * lanes;
    for (int lane = 0; lane < lanes; lane++) {
      scores[lane] = cell >= begin[lane] && cell < end[lane] ? scores[lane] : -INFINITY;
    }
  }
  const vec before = load(own->largest + query);
  vec most = before;
  for (int64_t cell = 0; cell < cells; cell++) most = larger(most, load(weights + cell * lanes));
  store(own->largest + query, most);
  // A query that looks at nothing yet has −∞, from which it must not be taken.
  most = larger(most, splat(-3e38f));
  for (int64_t cell = 0; cell < cells; cell++) store(weights + cell * lanes, load(weights + cell * lanes) - most);
  store(weights + cells * lanes, before - most);
  exponentials(weights, (int)(cells + 1) * lanes);
  memset(totals, 0, sizeof totals);
  for (int64_t cell = 0; cell < cells; cell++) store(totals[cell % 8], load(totals[cell % 8]) + load(weights + cell * lanes));
  const float *shrink = weights + cells * lanes;
  for (int lane = 0; lane < lanes; lane++) {
    float weight = fmaf(own->weight[query + lane], shrink[lane], totals[0][lane]);
    for (int i = 1; i < 8; i++) weight += totals[i][lane];
    own->weight[query + lane] = weight;
  }
  const vec factor = load(shrink);
  for (int64_t d = 0; d < padded; d += lanes) {
    float *to = own->sum + (query * padded + d * lanes);
    const float *values = own->values + d;
    vec sum[lanes];
#pragma GCC unroll 16
    for (int i = 0; i < lanes; i++) sum[i] = load(to + i * lanes) * factor;
    for (int64_t cell = 0; cell < cells; cell++) {
      const vec weight = load(weights + cell * lanes);
#pragma GCC unroll 16
      for (int i = 0; i < lanes; i++) sum[i] = multiply_add(weight, splat(values[cell * padded + i]), sum[i]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; i++) store(to + i * lanes, sum[i]);
  }
}

// A query, times `scale`.
TARGET ALWAYS_INLINE void put_query(struct attention *own, int query, const float *from, int64_t head_dim, float scale) {
  const int64_t padded = own->padded;
  float scaled[head_max];
  for (int64_t d = 0; d < head_dim; d++) scaled[d] = from[d] * scale;
  for (int64_t d = head_dim; d < padded; d++) scaled[d] = 0.0f;
  if (query >= own->side_by_side) {
    memcpy(own->query + query * padded, scaled, (size_t)padded * sizeof(float));
    return;
  }
  float *to = own->query + query / lanes * lanes * padded + query % lanes;
  for (int64_t d = 0; d < padded; d++) to[d * lanes] = scaled[d];
}

// A query's sums, over its weights.
TARGET ALWAYS_INLINE void get_sum(const struct attention *own, int query, float *to, int64_t head_dim) {
  const int64_t padded = own->padded;
  const float inverse = 1.0f / own->weight[query];
  if (query >= own->side_by_side) {
    for (int64_t d = 0; d < head_dim; d++) to[d] = own->sum[query * padded + d] * inverse;
    return;
  }
  const float *from = own->sum + query / lanes * lanes * padded + query % lanes;
  for (int64_t d = 0; d < head_dim; d++) to[d] = from[d * lanes] * inverse;
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
  const size_t head_bytes = k->nb[1];
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
      while (last < heads && last / shared == kv_head && done + last * pair < end && (last + 1 - head) * tile <= queries_max) last++;
      own.side_by_side = lanes > 1 ? (int)((last - head) * tile / lanes * lanes) : 0;
      for (int64_t of = head; of < last; of++) {
        for (int64_t i = 0; i < tile; i++, count++) {
          const float *from = (const float *)((const char *)q->data + (size_t)(row + i) * q->nb[2] + (size_t)of * q->nb[1]);
          put_query(&own, count, from, head_dim, scale);
          own.largest[count] = -INFINITY;
          own.weight[count] = 0.0f;
          own.end[count] = position[row + i] + 1;
          own.first[count] = window > 0 && own.end[count] > window ? own.end[count] - window : 0;
          low = own.first[count] < low ? own.first[count] : low;
          high = own.end[count] > high ? own.end[count] : high;
        }
      }
      memset(own.sum, 0, sizeof(float) * (size_t)(count * padded));
      for (int64_t chunk = low / chunk_cells * chunk_cells; chunk < high; chunk += chunk_cells) {
        const int64_t cells = high - chunk < chunk_cells ? high - chunk : chunk_cells;
        for (int64_t cell = 0; cell < cells; cell++) {
          const size_t at = (size_t)(start + chunk + cell);
          const char *key = (const char *)k->data + at * k->nb[2] + (size_t)kv_head * k->nb[1];
          const char *value = (const char *)v->data + at * v->nb[2] + (size_t)kv_head * v->nb[1];
          for (size_t line = 0; line < head_bytes; line += line_bytes) {
            __builtin_prefetch(key + chunk_cells * k->nb[2] + line);
            __builtin_prefetch(value + chunk_cells * v->nb[2] + line);
          }
          cell_as_floats(k->type, key, head_dim, padded, own.keys + cell * padded);
          cell_as_floats(v->type, value, head_dim, padded, own.values + cell * padded);
        }
        int query = 0;
        for (; query < own.side_by_side; query += lanes) attend_side_by_side(&own, query, chunk);
        for (; query + fours_at_once <= count; query += fours_at_once) attend_to_chunk(&own, query, fours_at_once, chunk);
        const int left = count - query;
        if (fours_at_once > 3 && left == 3) attend_to_chunk(&own, query, 3, chunk);
        if (fours_at_once > 2 && left == 2) attend_to_chunk(&own, query, 2, chunk);
        if (fours_at_once > 1 && left == 1) attend_to_chunk(&own, query, 1, chunk);
      }
      for (int query = 0; query < count; query++) {
        float *of_row = (float *)((char *)result->data + (size_t)(row + query % tile) * result->nb[1]);
        get_sum(&own, query, of_row + (head + query / tile) * head_dim, head_dim);
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
