// Drawing tokens, each from a row of logits. src/ggml/plain-draw.ts is the same in JavaScript, and draws the same tokens: words are
// ordered by their logits and no rounding has a part in that; weights are whole numbers, so that sums are exact in any order;
// and the arithmetic that makes them is rounded one operation after the other, which compiler.ts asks for.
//
// The loops are left to the compiler, which finds their vectors by itself: a file for each set of instructions names it, as TARGET.
#pragma once
#include <float.h>
#include <math.h>
#include <string.h>
#include "tensor.h"

// The likeliest word weighs 2^34, others in proportion; below a half is 0, which is so from e^-24.6 on. Half a million words
// weigh no more than 2^53, up to which doubles hold every whole number.
#define HEAVIEST 0x1p34
#define LEAST_EXPONENT -24.6

// Sixteen maxima side by side, since compilers do not change the order of comparisons; one set of them for each chunk.
enum { lanes = 16, chunk_words = 512, buckets = 512, likeliest_max = 64 };

// How a row is drawn. The likeliest of the words when the temperature is 0. Else as if the words that any filter drops weighed
// nothing: that with which the sum of weights, in the order of words, passes `part` of all. Filters come in this order, each over what
// the one before left: the `top_k` likeliest (0: all), of equals the first; of them the fewest whose weights reach
// `top_p` of all; of them those that weigh at least `min_p` of the likeliest. Before all that the row is adjusted.
struct draw {
  int64_t words;  // logits that count, from the first on; 0: not drawn
  double temperature, part, top_p, min_p;
  int64_t top_k;
  double repetition, presence, frequency;  // what the penalties are
  int32_t first, heard, biases;            // in the list of adjustments: words that were heard, and after them biases
  int32_t likeliest;                       // report so many words; below 0: report nothing
};

// A word and what is due to it: how often it was generated (0: it was only in the prompt), or the bits of a float to add.
struct adjustment {
  int32_t word, amount;
};

// What the row was before adjustments: the sum of weights at temperature 1, the word with the largest logit, and the likeliest
// words in order, of which there are fewer than asked for where there are not so many numbers.
struct report {
  double sum;
  int32_t best, count, likeliest[likeliest_max];
};

// Memory for one row; `words` is the most that one has.
struct draw_room {
  double *weights;  // [words], of `keys`, or sums of chunks
  uint64_t *keys;   // [words]
  float *own;       // [words]: the row where it is not used as it lies
  float *maxima;    // [lanes, chunks]
};

ALWAYS_INLINE size_t draw_chunks(int64_t words) { return (size_t)(words + chunk_words - 1) / chunk_words; }
ALWAYS_INLINE size_t draw_room_bytes(int64_t words) {
  return draw_chunks(words) * (chunk_words * (sizeof(double) + sizeof(uint64_t) + sizeof(float)) + lanes * sizeof(float));
}

ALWAYS_INLINE struct draw_room draw_room_at(char *at, int64_t words) {
  const size_t most = draw_chunks(words) * chunk_words;
  struct draw_room room = {.weights = (double *)at};
  room.keys = (uint64_t *)(room.weights + most);
  room.own = (float *)(room.keys + most);
  room.maxima = room.own + most;
  return room;
}

// Fills `maxima` and returns the largest of them; NaN is never largest. -INFINITY when there is no number.
TARGET static float find_maxima(const float *values, int64_t words, float *maxima) {
  float most[lanes], largest = -INFINITY;
  for (int64_t first = 0; first < words; first += chunk_words, maxima += lanes) {
    const int64_t end = first + chunk_words < words ? first + chunk_words : words;
    for (int lane = 0; lane < lanes; lane++) most[lane] = -INFINITY;
    int64_t i = first;
    for (; i + lanes <= end; i += lanes)
      for (int lane = 0; lane < lanes; lane++) most[lane] = values[i + lane] > most[lane] ? values[i + lane] : most[lane];
    for (; i < end; i++) most[i % lanes] = values[i] > most[i % lanes] ? values[i] : most[i % lanes];
    for (int lane = 0; lane < lanes; lane++) maxima[lane] = most[lane];
    for (int lane = 0; lane < lanes; lane++) largest = most[lane] > largest ? most[lane] : largest;
  }
  return largest;
}

// The first word that has the largest logit; 0 when there is no number.
TARGET static int64_t find(const float *values, int64_t words, float largest) {
  if (largest == -INFINITY) return 0;
  for (int64_t i = 0; i < words; i++)
    if (values[i] == largest) return i;
  return 0;
}

// HEAVIEST · e^x as a whole number, for x of 0 and below; 0 for NaN. Within 3e-10 of it, or a half.
// e^x = 2^n · e^r with |r| ≤ ln 2 / 2. n is had by adding a number so large that the sum has room for whole numbers only: its last
// bits are n. So is the whole number that the result is.
ALWAYS_INLINE double weight_of(double x) {
  const double whole = 0x1.8p52;
  const double limited = x > LEAST_EXPONENT ? x : LEAST_EXPONENT;
  const double shifted = limited * 0x1.71547652b82fep0 + whole, n = shifted - whole;
  const double r = limited - n * 0x1.62e42fefa39efp-1;
  double y = 1.0 / 40320;
  y = y * r + 1.0 / 5040;
  y = y * r + 1.0 / 720;
  y = y * r + 1.0 / 120;
  y = y * r + 1.0 / 24;
  y = y * r + 1.0 / 6;
  y = y * r + 0.5;
  y = y * r + 1.0;
  y = y * r + 1.0;
  uint64_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 1023 + 34) << 52;
  double power;
  memcpy(&power, &bits, sizeof power);
  const double weight = y * power + whole - whole;
  return x > LEAST_EXPONENT ? weight : 0.0;
}

// Sums of the weights of each chunk; returns that of all.
TARGET static double sum_chunks(const float *values, int64_t words, double largest, double rate, double *sums) {
  double all = 0.0;
  for (int64_t first = 0; first < words; first += chunk_words, sums++) {
    const int64_t end = first + chunk_words < words ? first + chunk_words : words;
    double side[lanes] = {0};
    int64_t i = first;
    for (; i + lanes <= end; i += lanes)
      for (int lane = 0; lane < lanes; lane++) side[lane] += weight_of((values[i + lane] - largest) * rate);
    for (; i < end; i++) side[0] += weight_of((values[i] - largest) * rate);
    *sums = 0.0;
    for (int lane = 0; lane < lanes; lane++) *sums += side[lane];
    all += *sums;
  }
  return all;
}

// Words are selected by keys: logits upside down, and below them the word, so that the likelier comes first, and of equals the first.
ALWAYS_INLINE uint64_t key_of(float logit, int64_t word) {
  const float same = logit + 0.0f;  // -0 is 0
  uint32_t bits;
  memcpy(&bits, &same, sizeof bits);
  bits ^= bits >> 31 ? 0 : 0x7fffffff;
  return (uint64_t)bits << 32 | (uint32_t)word;
}

ALWAYS_INLINE float logit_of(uint64_t key) {
  uint32_t bits = (uint32_t)(key >> 32);
  bits ^= bits >> 31 ? 0 : 0x7fffffff;
  float logit;
  memcpy(&logit, &bits, sizeof logit);
  return logit;
}

// The keys of all words with at least this logit, in the order of words; NaN is none. Returns how many.
TARGET static int64_t gather(const float *values, int64_t words, const float *maxima, float least, uint64_t *keys) {
  int64_t count = 0;
  for (int64_t first = 0; first < words; first += chunk_words, maxima += lanes) {
    const int64_t end = first + chunk_words < words ? first + chunk_words : words;
    int some = 0;
    for (int lane = 0; lane < lanes; lane++) some |= maxima[lane] >= least;
    if (!some) continue;
    int64_t i = first;
    for (; i + lanes <= end; i += lanes) {
      some = 0;
      for (int lane = 0; lane < lanes; lane++) some |= values[i + lane] >= least;
      if (!some) continue;
      for (int lane = 0; lane < lanes; lane++) {
        keys[count] = key_of(values[i + lane], i + lane);
        count += values[i + lane] >= least;
      }
    }
    for (; i < end; i++) {
      keys[count] = key_of(values[i], i);
      count += values[i] >= least;
    }
  }
  return count;
}

TARGET static void find_range(const uint64_t *keys, int64_t count, uint64_t *lowest, uint64_t *highest) {
  *lowest = UINT64_MAX, *highest = 0;
  for (int64_t i = 0; i < count; i++) {
    *lowest = keys[i] < *lowest ? keys[i] : *lowest;
    *highest = keys[i] > *highest ? keys[i] : *highest;
  }
}

// Of the fewest words that come first by their keys and whose weights reach `target`, the last one's key; of all words, the last one's
// if they do not reach it. Those that are not decided yet go into buckets by their keys, and all but one bucket are decided.
TARGET static uint64_t last_to_reach(double target, uint64_t *keys, double *weights, int64_t count) {
  uint64_t lowest, highest;
  find_range(keys, count, &lowest, &highest);
  while (lowest < highest) {
    int shift = 0;
    while ((highest - lowest) >> shift >= buckets) shift++;
    double sums[buckets] = {0};
    for (int64_t i = 0; i < count; i++) sums[(keys[i] - lowest) >> shift] += weights[i];
    const uint64_t end = (highest - lowest) >> shift;
    uint64_t bucket = 0;
    for (; bucket < end && sums[bucket] < target; bucket++) target -= sums[bucket];
    int64_t left = 0;
    for (int64_t i = 0; i < count; i++) {
      const uint64_t key = keys[i];
      keys[left] = key;
      weights[left] = weights[i];
      left += (key - lowest) >> shift == bucket;
    }
    count = left;
    find_range(keys, count, &lowest, &highest);
  }
  return highest;
}

// The key of the last of the `wanted` likeliest words; of all, if there are not so many.
TARGET static uint64_t last_of_likeliest(const float *values, int64_t words, const struct draw_room *room, int64_t wanted) {
  // As many words are at least as large as the `wanted`th of the maxima, each of which is a word's.
  const int64_t maxima = (int64_t)draw_chunks(words) * lanes;
  float least = -INFINITY;
  if (wanted <= maxima) {
    for (int64_t i = 0; i < maxima; i++) room->keys[i] = key_of(room->maxima[i], i);
    for (int64_t i = 0; i < maxima; i++) room->weights[i] = 1.0;
    least = logit_of(last_to_reach((double)wanted, room->keys, room->weights, maxima));
  }
  const int64_t count = gather(values, words, room->maxima, least, room->keys);
  for (int64_t i = 0; i < count; i++) room->weights[i] = 1.0;
  return last_to_reach((double)wanted, room->keys, room->weights, count);
}

// Gathers the words up to a key, in their order; returns how many.
TARGET static int64_t gather_until(const float *values, int64_t words, const struct draw_room *room, uint64_t last) {
  const int64_t count = gather(values, words, room->maxima, logit_of(last), room->keys);
  int64_t kept = 0;
  for (int64_t i = 0; i < count; i++) {
    const uint64_t key = room->keys[i];
    room->keys[kept] = key;
    kept += key <= last;
  }
  return kept;
}

TARGET static double weigh_keys(const uint64_t *keys, int64_t count, double largest, double rate, double *weights) {
  double sum = 0.0;
  for (int64_t i = 0; i < count; i++) weights[i] = weight_of((logit_of(keys[i]) - largest) * rate);
  for (int64_t i = 0; i < count; i++) sum += weights[i];
  return sum;
}

// What logits are multiplied by. An infinite rate would make no number of the likeliest's 0.
ALWAYS_INLINE double rate_of(double temperature) { return 1.0 / temperature < DBL_MAX ? 1.0 / temperature : DBL_MAX; }

// A word of all.
TARGET static int64_t draw_from_all(const float *values, const struct draw *own, double largest, double *sums) {
  const double rate = rate_of(own->temperature);
  double target = own->part * sum_chunks(values, own->words, largest, rate, sums);
  int64_t i = 0;
  for (; *sums <= target; i += chunk_words) target -= *sums++;
  for (;; i++) {
    const double weight = weight_of((values[i] - largest) * rate);
    if (weight > target) return i;
    target -= weight;
  }
}

// A word of those that the filters leave.
TARGET static int64_t draw_filtered(const float *values, const struct draw *own, double largest, const struct draw_room *room) {
  const double rate = rate_of(own->temperature), least = own->min_p * HEAVIEST;
  const int has_top_k = own->top_k > 0 && own->top_k < own->words, has_top_p = own->top_p < 1.0;
  int64_t count;
  double all = 0.0;
  if (has_top_k) {
    count = gather_until(values, own->words, room, last_of_likeliest(values, own->words, room, own->top_k));
  } else {
    // Words that weigh less than an even share of what top-p leaves out do not weigh that much together, and it keeps none of them.
    all = has_top_p ? sum_chunks(values, own->words, largest, rate, room->weights) : 0.0;
    const double needed = has_top_p ? (1.0 - own->top_p) * all / (double)own->words : least;
    // What is gathered may be more than needed, so nothing here has to be exact.
    const double exponent = needed > 2.0 ? log((needed - 1.0) / HEAVIEST) - 1e-6 : LEAST_EXPONENT;
    count = gather(values, own->words, room->maxima, (float)(largest + exponent * own->temperature), room->keys);
  }
  double sum = weigh_keys(room->keys, count, largest, rate, room->weights);
  if (has_top_p) {
    if (!has_top_k) sum = all;
    const uint64_t last = last_to_reach(own->top_p * sum, room->keys, room->weights, count);
    count = gather_until(values, own->words, room, last);
    weigh_keys(room->keys, count, largest, rate, room->weights);
  }
  sum = 0.0;
  for (int64_t i = 0; i < count; i++) {
    room->weights[i] = room->weights[i] < least ? 0.0 : room->weights[i];
    sum += room->weights[i];
  }
  const double target = own->part * sum;
  double reached = 0.0;
  for (int64_t i = 0;; i++) {
    reached += room->weights[i];
    if (reached > target) return (int64_t)(uint32_t)room->keys[i];
  }
}

TARGET static int64_t draw_word(const float *values, const struct draw *own, float largest, const struct draw_room *room) {
  // Of no number, or an infinite one, nothing can be weighed.
  if (own->temperature == 0.0 || !isfinite(largest)) return find(values, own->words, largest);
  if (own->top_k > 0 || own->top_p < 1.0 || own->min_p > 0.0) return draw_filtered(values, own, largest, room);
  return draw_from_all(values, own, largest, room->weights);
}

TARGET static void report_row(const float *values, const struct draw *own, int64_t best, const struct draw_room *room,
                              struct report *report) {
  int64_t count = 0;
  if (own->likeliest > 0)
    count = gather_until(values, own->words, room, last_of_likeliest(values, own->words, room, own->likeliest));
  for (int64_t i = 0; i < count; i++) {
    const uint64_t key = room->keys[i];
    int64_t place = i;
    for (; place > 0 && room->keys[place - 1] > key; place--) room->keys[place] = room->keys[place - 1];
    room->keys[place] = key;
  }
  report->best = (int32_t)best;
  report->count = (int32_t)count;
  for (int64_t i = 0; i < count; i++) report->likeliest[i] = (int32_t)room->keys[i];
  report->sum = sum_chunks(values, own->words, values[best], 1.0, room->weights);
}

TARGET static void adjust(float *values, const struct draw *own, const struct adjustment *next) {
  for (int32_t i = 0; i < own->heard; i++, next++) {
    const float logit = values[next->word];
    double changed = logit > 0.0f ? logit / own->repetition : logit * own->repetition;
    if (next->amount > 0) changed -= own->presence + own->frequency * next->amount;
    values[next->word] = (float)changed;
  }
  for (int32_t i = 0; i < own->biases; i++, next++) {
    float bias;
    memcpy(&bias, &next->amount, sizeof bias);
    values[next->word] += bias;
  }
}

// result: tokens [rows] i32; from the next multiple of 64 bytes on reports [rows]; and again a `draw_room` for each thread.
// src[0]: logits [vocabulary, rows] f32; src[1]: a `struct draw` for each row; src[2]: a list of `struct adjustment`; src[3],
// if it is there: logits of words beyond the vocabulary, of each of the first rows as many, f32. Threads take rows in turn.
TARGET static void draw_rows(struct ggml_tensor *result, int thread, int threads) {
  const struct ggml_tensor *logits = result->src[0], *beyond = result->src[3];
  const struct draw *draws = result->src[1]->data;
  const struct adjustment *adjustments = result->src[2]->data;
  const int64_t rows = logits->ne[1], vocabulary = logits->ne[0];
  const int64_t most = vocabulary + (beyond ? beyond->ne[0] : 0);
  int32_t *tokens = result->data;
  struct report *reports = (struct report *)((char *)tokens + (((size_t)rows * sizeof *tokens + 63) & ~(size_t)63));
  char *rooms = (char *)reports + (((size_t)rows * sizeof *reports + 63) & ~(size_t)63);
  const struct draw_room room = draw_room_at(rooms + (size_t)thread * draw_room_bytes(most), most);
  for (int64_t row = thread; row < rows; row += threads) {
    const struct draw *own = &draws[row];
    if (own->words == 0) continue;
    const float *values = (const float *)((const char *)logits->data + (size_t)row * logits->nb[1]);
    const int64_t more = own->words - vocabulary, adjusted = own->heard + own->biases;
    if (adjusted > 0 || more > 0) memcpy(room.own, values, (size_t)(more > 0 ? vocabulary : own->words) * sizeof(float));
    if (more > 0) memcpy(room.own + vocabulary, (const float *)beyond->data + row * beyond->ne[0], (size_t)more * sizeof(float));
    if (adjusted > 0 || more > 0) values = room.own;
    float largest = find_maxima(values, own->words, room.maxima);
    if (own->likeliest >= 0) report_row(values, own, find(values, own->words, largest), &room, &reports[row]);
    if (adjusted > 0) {
      adjust(room.own, own, adjustments + own->first);
      largest = find_maxima(values, own->words, room.maxima);
    }
    tokens[row] = (int32_t)draw_word(values, own, largest, &room);
  }
}

// Defines the operation of a kernel: `kindred_draw_NAME`.
#define LOGITS_KERNEL(NAME)                                                                          \
  TARGET void kindred_draw_##NAME(struct ggml_tensor *result, int thread, int threads, void *none) { \
    (void)none;                                                                                      \
    draw_rows(result, thread, threads);                                                              \
  }
