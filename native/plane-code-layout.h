// What the header of a plane's code says: the distribution of each context, and where the bytes of a row come from.
// src/formats/plane-code.ts draws the code, src/entropy/ its bits and distributions.
#pragma once
#include <stdlib.h>
#include <string.h>
#include "tensor.h"

enum { full_contexts = 3, block_bytes_max = 256, place_bits = 12, places = 1 << place_bits, symbols_max = 256, lanes = 4 };
// Forms of contexts by their numbers in the file.
enum { raw_form, own_form, codes_form, before_form };

struct plane_shape {
  int64_t cols;
  int32_t block_columns, block_bytes;
  int32_t scale_at;  // in a block; its two bytes have contexts of their own
};

// A coded byte of the first four rows of a part: in the next four the same places are in the same lanes again.
struct coded_byte {
  uint32_t entries;  // first of its distribution
  uint32_t to, lane;
};

// Raw bytes of a row that lie together.
struct raw_run {
  uint32_t to, bytes;
};

struct plane_layout {
  int64_t row_bytes, coded, varying, raw, runs;  // of a row
  // For each distribution what takes each of its places: the symbol, the place less the symbol's first, and the symbol's
  // frequency less 1, as `placesOf` in src/entropy/rans.ts draws them.
  uint32_t *entries;
  struct coded_byte *bytes;  // those whose distribution has more than one symbol: only these change their lane's state
  struct raw_run *raws;
  uint8_t *row;  // what is the same in all of them
};

struct bits {
  const uint8_t *bytes;
  int64_t count, at;
  int ended;
};

// A 1, which ends a gamma code, where there is none.
ALWAYS_INLINE uint32_t read_bit(struct bits *bits) {
  bits->ended |= bits->at >= bits->count;
  if (bits->ended) return 1;
  const int64_t at = bits->at++;
  return bits->bytes[at >> 3] >> (at & 7) & 1;
}

ALWAYS_INLINE uint32_t read_bits(struct bits *bits, int count) {
  uint32_t value = 0;
  for (int i = 0; i < count; i++) value |= read_bit(bits) << i;
  return value;
}

// From 1 to 2^31 - 1; 0 where there is no such number.
static inline uint32_t read_gamma(struct bits *bits) {
  int extra = 0;
  while (!read_bit(bits)) extra += 1;
  const uint32_t value = extra > 30 ? 0 : 1u << extra | read_bits(bits, extra);
  return bits->ended ? 0 : value;
}

static int read_distribution(struct bits *bits, uint32_t *entries) {
  memset(entries, 0, places * sizeof *entries);
  if (!read_bits(bits, 1)) return 1;  // it is never used
  for (uint32_t symbol = 0, first = 0; first < places; symbol++) {
    const uint32_t frequency = read_gamma(bits) - 1;  // of no number, more than there is
    if (symbol == symbols_max || frequency > places - first) return 0;
    for (uint32_t i = 0; i < frequency; i++) entries[first + i] = symbol << 24 | i << place_bits | (frequency - 1);
    first += frequency;
  }
  return !bits->ended;
}

// For each context its distribution, -1 for a raw one. Returns how many distributions there are; -1 where one is shared that there
// is not.
static int32_t read_forms(struct bits *bits, int32_t contexts, int32_t *distributions) {
  int32_t own = 0;
  for (int32_t context = 0; context < contexts; context++) {
    const uint32_t form = read_bits(bits, 2);
    const int has_codes = context > 0 && distributions[0] == 0;
    if ((form == codes_form && !has_codes) || (form == before_form && own == 0)) return -1;
    own += form == own_form;
    distributions[context] = form == raw_form ? -1 : form == codes_form ? 0 : own - 1;
  }
  return bits->ended ? -1 : own;
}

// The context of a byte by its place in its row.
static inline int32_t context_at(const struct plane_shape *shape, int64_t place) {
  const int32_t in_block = (int32_t)(place % shape->block_bytes), in_scale = in_block - shape->scale_at;
  if (place >= shape->cols / shape->block_columns * shape->block_bytes) return full_contexts + in_block;
  return in_scale == 0 || in_scale == 1 ? 1 + in_scale : 0;
}

static void place_bytes(struct plane_layout *layout, const struct plane_shape *shape, const int32_t *distributions) {
  int64_t raw_end = -1;
  for (int64_t place = 0; place < layout->row_bytes; place++) {
    const int32_t distribution = distributions[context_at(shape, place)];
    if (distribution < 0) {
      if (place != raw_end) layout->raws[layout->runs++] = (struct raw_run){(uint32_t)place, 0};
      layout->raws[layout->runs - 1].bytes += 1;
      layout->raw += 1;
      raw_end = place + 1;
      continue;
    }
    const uint32_t entries = (uint32_t)distribution << place_bits, first = layout->entries[entries];
    layout->row[place] = (uint8_t)(first >> 24);
    if ((first & (places - 1)) != places - 1)
      layout->bytes[layout->varying++] = (struct coded_byte){entries, (uint32_t)place, (uint32_t)layout->coded % lanes};
    layout->coded += 1;
  }
  for (int64_t i = layout->varying; i < lanes * layout->varying; i++) {
    layout->bytes[i] = layout->bytes[i - layout->varying];
    layout->bytes[i].to += (uint32_t)layout->row_bytes;
    layout->bytes[i].lane = (layout->bytes[i].lane + (uint32_t)layout->coded) % lanes;
  }
}

static void free_layout(struct plane_layout *layout) {
  free(layout->entries);
  free(layout->bytes);
  free(layout->raws);
  free(layout->row);
}

// Reads all of the header but the lengths of parts. False where it is none, or takes more memory than there is.
static int read_layout(struct bits *bits, const struct plane_shape *shape, struct plane_layout *layout) {
  const int64_t row_bytes = (shape->cols + shape->block_columns - 1) / shape->block_columns * shape->block_bytes;
  const int32_t last = context_at(shape, row_bytes - 1) + 1, contexts = last > full_contexts ? last : full_contexts;
  int32_t distributions[full_contexts + block_bytes_max];
  const int32_t own = read_forms(bits, contexts, distributions), models = own > 1 ? own : 1;
  if (own < 0) return 0;
  *layout = (struct plane_layout){
      .row_bytes = row_bytes,
      .entries = malloc((size_t)models * places * sizeof(uint32_t)),
      .bytes = malloc(lanes * (size_t)row_bytes * sizeof(struct coded_byte)),
      .raws = malloc((size_t)row_bytes * sizeof(struct raw_run)),
      .row = calloc((size_t)row_bytes, 1),
  };
  int is_good = layout->entries && layout->bytes && layout->raws && layout->row;
  for (int32_t i = 0; is_good && i < models; i++) is_good = read_distribution(bits, layout->entries + i * places);
  if (is_good) place_bytes(layout, shape, distributions);
  else free_layout(layout);
  return is_good;
}
