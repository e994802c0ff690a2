// Planes of variants out of their code. Every state of a lane is what it is in src/entropy/rans.ts, so that both give the same
// bytes, and refuse the same. Whatever a code says, nothing outside of it is read and nothing outside of its plane written.
#include "plane-code-layout.h"

enum { states_bytes = 4 * lanes, part_symbols = 1 << 16 };
static const uint32_t state_min = 1 << 15;

// Puts the symbols of a part where they belong. False where its code does not end where they do.
static int place_symbols(const struct plane_layout *layout, const uint8_t *code, int64_t bytes, int64_t rows, uint8_t *plane) {
  const int64_t symbols = layout->coded * rows, word_bytes = bytes - states_bytes, words = word_bytes / 2;
  if (word_bytes < 0 || word_bytes > 2 * symbols + 2) return 0;
  uint32_t states[lanes];
  memcpy(states, code, states_bytes);
  // From such states no symbol leads out of them, and one that is sure leaves them as they are.
  for (int lane = 0; lane < lanes; lane++)
    if (states[lane] < state_min || states[lane] >> 31) return 0;
  const uint32_t *restrict const entries = layout->entries;
  const struct coded_byte *restrict const first = layout->bytes, *const end = first + lanes * layout->varying, *byte = first;
  int64_t used = 0;
  for (int64_t i = layout->varying * rows; i > 0; i--) {
    const uint32_t x = states[byte->lane], entry = entries[byte->entries | (x & (places - 1))];
    const uint32_t next = ((entry & (places - 1)) + 1) * (x >> place_bits) + (entry >> place_bits & (places - 1));
    // Whether a state fell below 2^15 cannot be predicted, so it is computed with.
    const uint32_t is_low = (next - state_min) >> 31;
    uint16_t word = 0;  // as after the last
    if (used < words) memcpy(&word, code + states_bytes + 2 * used, sizeof word);
    states[byte->lane] = next << (is_low << 4) | (word & (0u - is_low));
    used += is_low;
    plane[byte->to] = (uint8_t)(entry >> 24);
    if (++byte == end) {
      byte = first;
      plane += lanes * layout->row_bytes;
    }
  }
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
    if (layout->coded > layout->varying) memcpy(plane, layout->row, (size_t)layout->row_bytes);
    for (int64_t i = 0; i < layout->runs; i++) {
      copy_run(plane + layout->raws[i].to, from, layout->raws[i].bytes);
      from += layout->raws[i].bytes;
    }
  }
}

// Part after part: raw bytes while its rows are near, and symbols among them.
static int decode(const struct plane_layout *layout, struct bits *bits, const uint8_t *code, const uint8_t *end, int64_t rows,
                  uint8_t *plane) {
  if (end - code < layout->raw * rows) return 0;
  const uint8_t *const raws = end - layout->raw * rows;
  const int64_t coded = layout->coded ? layout->coded : 1, part_rows = coded < part_symbols ? part_symbols / coded : 1;
  for (int64_t row = 0; row < rows; row += part_rows) {
    const int64_t own_rows = rows - row < part_rows ? rows - row : part_rows;
    uint8_t *const own = plane + row * layout->row_bytes;
    place_raw(layout, raws + row * layout->raw, own_rows, own);
    if (layout->coded == 0) continue;
    const int64_t bytes = 4 * (int64_t)read_gamma(bits);
    if (bytes == 0 || bytes > raws - code || !place_symbols(layout, code, bytes, own_rows, own)) return 0;
    code += bytes;
  }
  return code == raws;
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
