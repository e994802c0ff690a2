// Planes of variants out of their code. Every state of a lane is what it is in src/entropy/rans.ts, so that both give the same
// bytes, and refuse the same. Whatever a code says, nothing outside of it is read and nothing outside of its plane written.
#include "plane-code-layout.h"

enum { lanes = 4, states_bytes = 4 * lanes, part_symbols = 1 << 16 };
static const uint32_t state_min = 1 << 15;

// Symbols on their way through the lanes.
struct part {
  uint32_t states[lanes];
  const uint8_t *words;
  int64_t words_count, words_used;
};

// Takes the next symbol of a lane: its entry. Words beyond the last are zeros.
ALWAYS_INLINE uint32_t take(const uint32_t *entries, uint32_t *state, const struct part *part, int64_t *words_used) {
  const uint32_t entry = entries[*state & (places - 1)];
  const uint32_t next = ((entry & (places - 1)) + 1) * (*state >> place_bits) + (entry >> place_bits & (places - 1));
  // Whether a state fell below 2^15 cannot be predicted, so it is computed with.
  const uint32_t is_low = (next - state_min) >> 31;
  uint16_t word = 0;
  if (__builtin_expect(*words_used < part->words_count, 1)) memcpy(&word, part->words + 2 * *words_used, sizeof word);
  *state = next << (is_low << 4) | (word & (0u - is_low));
  *words_used += is_low;
  return entry;
}

static int decode_part(const struct plane_layout *layout, const uint8_t *code, int64_t bytes, int64_t rows, uint8_t *plane) {
  const int64_t count = layout->coded * rows, word_bytes = bytes - states_bytes;
  if (word_bytes < 0 || word_bytes > 2 * count + 2) return 0;
  struct part part = {.words = code + states_bytes, .words_count = word_bytes / 2};
  memcpy(part.states, code, states_bytes);
  uint32_t x0 = part.states[0], x1 = part.states[1], x2 = part.states[2], x3 = part.states[3];
  int64_t used = 0;
  const struct coded_byte *const bytes_end = layout->bytes + 4 * layout->coded, *at = layout->bytes;
  uint8_t *restrict to = plane;
  const uint32_t *restrict entries = layout->entries;
  for (int64_t i = 0; i + lanes <= count; i += lanes) {
    to[at[0].to] = (uint8_t)(take(entries + at[0].entries, &x0, &part, &used) >> 24);
    to[at[1].to] = (uint8_t)(take(entries + at[1].entries, &x1, &part, &used) >> 24);
    to[at[2].to] = (uint8_t)(take(entries + at[2].entries, &x2, &part, &used) >> 24);
    to[at[3].to] = (uint8_t)(take(entries + at[3].entries, &x3, &part, &used) >> 24);
    at += lanes;
    if (at == bytes_end) {
      at = layout->bytes;
      to += 4 * layout->row_bytes;
    }
  }
  uint32_t states[lanes] = {x0, x1, x2, x3};
  for (int64_t i = count - count % lanes; i < count; i++, at++)
    to[at->to] = (uint8_t)(take(entries + at->entries, &states[i % lanes], &part, &used) >> 24);
  for (int lane = 0; lane < lanes; lane++)
    if (states[lane] != state_min) return 0;
  return (used + 1) / 2 * 4 == word_bytes;
}

// Exactly so many bytes, with no call for so few.
ALWAYS_INLINE void copy_run(uint8_t *to, const uint8_t *from, uint32_t bytes) {
  if (bytes >= 16) {
    for (uint32_t i = 0; i + 16 < bytes; i += 16) memcpy(to + i, from + i, 16);
    memcpy(to + bytes - 16, from + bytes - 16, 16);
  } else if (bytes >= 8) {
    memcpy(to, from, 8);
    memcpy(to + bytes - 8, from + bytes - 8, 8);
  } else {
    for (uint32_t i = 0; i < bytes; i++) to[i] = from[i];
  }
}

static void place_raw(const struct plane_layout *layout, const uint8_t *from, int64_t rows, uint8_t *plane) {
  for (int64_t row = 0; row < rows; row++, plane += layout->row_bytes) {
    for (int64_t i = 0; i < layout->runs; i++) {
      copy_run(plane + layout->raws[i].to, from, layout->raws[i].bytes);
      from += layout->raws[i].bytes;
    }
  }
}

static int decode(const struct plane_layout *layout, struct bits *bits, const uint8_t *code, const uint8_t *end, int64_t rows,
                  uint8_t *plane) {
  const int64_t part_rows = layout->coded < part_symbols ? part_symbols / (layout->coded ? layout->coded : 1) : 1;
  for (int64_t row = 0; layout->coded && row < rows; row += part_rows) {
    const int64_t bytes = 4 * (int64_t)read_gamma(bits), own_rows = rows - row < part_rows ? rows - row : part_rows;
    if (bytes == 0 || bytes > end - code) return 0;
    if (!decode_part(layout, code, bytes, own_rows, plane + row * layout->row_bytes)) return 0;
    code += bytes;
  }
  if (end - code != layout->raw * rows) return 0;
  place_raw(layout, code, rows, plane);
  return 1;
}

// Fills a plane, rows of whole blocks. Returns 0, and leaves anything in it, where this is no code of such a plane, or takes more
// memory to decode than there is.
int kindred_decode_plane(const uint8_t *code, int64_t code_bytes, uint8_t *plane, int64_t rows, int64_t cols, int block_columns,
                         int block_bytes, int scale_at) {
  const struct plane_shape shape = {cols, block_columns, block_bytes, scale_at};
  uint32_t header_bytes;
  if (code_bytes < (int64_t)sizeof header_bytes) return 0;
  memcpy(&header_bytes, code, sizeof header_bytes);
  const uint8_t *const header = code + sizeof header_bytes, *const end = code + code_bytes;
  if (header_bytes > end - header || block_bytes > block_bytes_max) return 0;
  struct bits bits = {.bytes = header, .count = 8 * (int64_t)header_bytes};
  struct plane_layout layout;
  if (!read_layout(&bits, &shape, &layout)) return 0;
  const int is_good = decode(&layout, &bits, header + header_bytes, end, rows, plane);
  free_layout(&layout);
  return is_good;
}
