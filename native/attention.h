// Attention of single rows: each of several sequences looks with one row at its own keys and values. Heads that share keys and values
// are done together, a block of cells at a time, with the softmax kept as it would be if those were all.
#pragma once
#include "layer-inputs.h"

enum { block_cells = 32, lanes_count = 16, head_max = 256, shared_heads_max = 16 };

typedef float lanes __attribute__((vector_size(lanes_count * sizeof(float))));

// Half floats to floats, `lanes_count` of them.
typedef void lane_reader(const uint16_t *halves, float *values);

typedef float half_lanes __attribute__((vector_size(lanes_count / 2 * sizeof(float))));
typedef float quarter_lanes __attribute__((vector_size(lanes_count / 4 * sizeof(float))));

ALWAYS_INLINE float lane_sum(const lanes *x) {
  half_lanes halves[2];
  memcpy(halves, x, sizeof halves);
  const half_lanes half = halves[0] + halves[1];
  quarter_lanes quarters[2];
  memcpy(quarters, &half, sizeof quarters);
  const quarter_lanes sums = quarters[0] + quarters[1];
  return (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

// Cells of one sequence and one head of keys and values.
struct cell_span {
  const char *keys, *values;
  size_t key_bytes, value_bytes;  // from one cell to the next
  const uint16_t *mask;           // half floats: 0 where a cell is looked at, −∞ where not
  int64_t cells;
};

ALWAYS_INLINE void read_cells(const char *from, size_t cell_bytes, const uint16_t *mask, int count, int head, lane_reader *read,
                              float *to) {
  for (int cell = 0; cell < count; cell++) {
    const char *ahead = from + (cell + block_cells) * cell_bytes;
    for (size_t at = 0; at < head * sizeof(uint16_t); at += line_bytes) __builtin_prefetch(ahead + at);
    if (mask[cell]) continue;  // what lies there may be no number
    for (int i = 0; i < head; i += lanes_count) read((const uint16_t *)(from + cell * cell_bytes) + i, to + cell * head + i);
  }
}

// `heads` queries, `q_bytes` apart, each of `head` values; their results, one after the other, to `to`.
ALWAYS_INLINE void attend_cells(const int head, int heads, const char *q, size_t q_bytes, float scale, struct cell_span span,
                                lane_reader *read, float *to) {
  float block[block_cells * head_max] __attribute__((aligned(64))), weights[shared_heads_max][block_cells];
  float most[shared_heads_max], total[shared_heads_max];
  for (int h = 0; h < heads; h++) most[h] = -INFINITY, total[h] = 0.0f;
  memset(to, 0, (size_t)heads * head * sizeof(float));
  for (int64_t first = 0; first < span.cells; first += block_cells) {
    const int count = span.cells - first < block_cells ? (int)(span.cells - first) : block_cells;
    const uint16_t *mask = span.mask + first;
    int seen = 0;
    for (int cell = 0; cell < count; cell++) seen |= !mask[cell];
    if (!seen) continue;

    read_cells(span.keys + first * span.key_bytes, span.key_bytes, mask, count, head, read, block);
    for (int h = 0; h < heads; h++) {
      const float *own = (const float *)(q + h * q_bytes);
      float largest_score = most[h];
      for (int cell = 0; cell < count; cell++) {
        lanes sums = {0};
        for (int i = 0; i < head; i += lanes_count) {
          lanes a, b;
          memcpy(&a, own + i, sizeof a);
          memcpy(&b, block + cell * head + i, sizeof b);
          sums += a * b;
        }
        const float score = mask[cell] ? -INFINITY : scale * lane_sum(&sums);
        weights[h][cell] = score;
        largest_score = score > largest_score ? score : largest_score;
      }
      const float less = exponential(most[h] - largest_score);
      most[h] = largest_score;
      total[h] *= less;
      for (int i = 0; i < head; i++) to[h * head + i] *= less;
      for (int cell = 0; cell < count; cell++) weights[h][cell] = exponential(weights[h][cell] - largest_score);
      for (int cell = 0; cell < count; cell++) {
        if (mask[cell]) weights[h][cell] = 0.0f;
        total[h] += weights[h][cell];
      }
    }

    read_cells(span.values + first * span.value_bytes, span.value_bytes, mask, count, head, read, block);
    for (int h = 0; h < heads; h++) {
      lanes sums[head_max / lanes_count];
      memcpy(sums, to + h * head, head * sizeof(float));
      for (int cell = 0; cell < count; cell++) {
        if (mask[cell]) continue;
        for (int i = 0; i < head / lanes_count; i++) {
          lanes own;
          memcpy(&own, block + cell * head + i * lanes_count, sizeof own);
          sums[i] += own * weights[h][cell];
        }
      }
      memcpy(to + h * head, sums, head * sizeof(float));
    }
  }
  for (int h = 0; h < heads; h++) {
    for (int i = 0; i < head; i++) to[h * head + i] /= total[h];
  }
}

// result: [head, heads, 1, sequences] f32; src[0]: queries [head, 1, heads, sequences] f32; src[1], src[2]: keys and values
// [head, cells, heads of theirs, sequences] f16; src[3]: mask [cells, 1, 1, sequences] f16. Threads take heads of keys and values.
ALWAYS_INLINE void attend(struct ggml_tensor *result, int thread, int threads, float scale, lane_reader *read) {
  const struct ggml_tensor *q = result->src[0], *k = result->src[1], *v = result->src[2], *mask = result->src[3];
  const int64_t own_heads = k->ne[2], items = own_heads * k->ne[3];
  const int heads = (int)(q->ne[2] / own_heads), head = (int)q->ne[0];
  for (int64_t item = items * thread / threads; item < items * (thread + 1) / threads; item++) {
    const int64_t own = item % own_heads, sequence = item / own_heads;
    const struct cell_span span = {
        (const char *)k->data + own * k->nb[2] + sequence * k->nb[3],
        (const char *)v->data + own * v->nb[2] + sequence * v->nb[3],
        k->nb[1],
        v->nb[1],
        (const uint16_t *)((const char *)mask->data + sequence * mask->nb[3]),
        k->ne[1],
    };
    const char *queries = (const char *)q->data + own * heads * q->nb[2] + sequence * q->nb[3];
    float *to = (float *)((char *)result->data + own * heads * result->nb[1] + sequence * result->nb[3]);
    // Known where it is compiled, a head stays in registers.
    if (head == 64) attend_cells(64, heads, queries, q->nb[2], scale, span, read, to);
    else if (head == 128) attend_cells(128, heads, queries, q->nb[2], scale, span, read, to);
    else attend_cells(head, heads, queries, q->nb[2], scale, span, read, to);
  }
}

// Defines `kindred_attend_NAME` out of a kernel's `read_lanes`. Its user data are the bits of the scale.
#define ATTENTION_KERNEL(NAME, TARGET)                                                                  \
  TARGET void kindred_attend_##NAME(struct ggml_tensor *result, int thread, int threads, void *bits) { \
    const uint32_t own = (uint32_t)(uintptr_t)bits;                                                     \
    float scale;                                                                                        \
    memcpy(&scale, &own, sizeof scale);                                                                 \
    attend(result, thread, threads, scale, read_lanes);                                                 \
  }
