// Planes of variants, out of rows as their files have them, to where kernels look for them: strips of 16 outputs, which sign-planes.h
// draws. Every processor that there are kernels for has registers of 16 bytes, so these are compiled once for all.
#include "sign-planes.h"

// As ggml has them: src/delta/planes.ts draws the trits.
struct ternary_block {
  uint8_t trits[52];
  uint16_t scale;  // half float
};

enum { ternary_inputs = 256, ternary_groups = ternary_inputs / group_inputs };

// A byte of each output of a strip.
typedef uint8_t bytes_of_strip __attribute__((vector_size(strip_outputs)));

// What no sign and no scale takes, at the end.
static void clear_rest(void *plane, int64_t groups, int64_t outputs) {
  const size_t blocks = (size_t)(outputs * blocks_of(groups));
  const size_t used = blocks * sizeof(uint16_t) + (size_t)(groups * group_signs) * (size_t)(outputs / strip_outputs);
  memset((char *)plane + used, 0, blocks * sizeof(struct sign_block) - used);
}

// The lower half of a byte from each of the lower four halves of a word, the upper from the upper four.
ALWAYS_INLINE uint32_t paired_halves(uint32_t bits) {
  uint32_t lower = bits & 0xffff, upper = bits >> 16;
  lower = (lower | lower << 8) & 0x00ff00ff, upper = (upper | upper << 8) & 0x00ff00ff;
  lower = (lower | lower << 4) & 0x0f0f0f0f, upper = (upper | upper << 4) & 0x0f0f0f0f;
  return lower | upper << 4;
}

// The bytes of one place out of words.
ALWAYS_INLINE void put_bytes(void *to, const uint32_t *words, int place) {
  uint8_t *bytes = to;
  for (int lane = 0; lane < strip_outputs; lane++) bytes[lane] = (uint8_t)(words[lane] >> 8 * place);
}

// Writes a plane from its rows of ggml's q1_0, `outputs` of them, each of as many blocks as `inputs` fill.
void kindred_arrange_signs(void *to, const void *from, int64_t inputs, int64_t outputs) {
  const int64_t groups = groups_of(inputs), blocks = blocks_of(groups);
  clear_rest(to, groups, outputs);
  for (int64_t index = 0; index < outputs / strip_outputs; index++) {
    const struct sign_block *rows = (const struct sign_block *)from + index * strip_outputs * blocks;
    const struct sign_strip strip = sign_strip_of(to, outputs, groups, index, 0);
    uint16_t *scales = (uint16_t *)strip.scales;
    uint8_t *signs = (uint8_t *)strip.signs;
    for (int64_t block = 0; block < blocks; block++, rows++, scales += strip_outputs) {
      for (int lane = 0; lane < strip_outputs; lane++) scales[lane] = rows[lane * blocks].scale;
      for (int64_t group = 0; group < block_groups && block * block_groups + group < groups; group++, signs += group_signs) {
        uint32_t words[strip_outputs];
        for (int lane = 0; lane < strip_outputs; lane++) memcpy(words + lane, rows[lane * blocks].signs + 4 * group, 4);
        for (int lane = 0; lane < strip_outputs; lane++) words[lane] = paired_halves(words[lane]);
        for (int g = 0; g < 4; g++) put_bytes(signs + g * strip_outputs, words, g);
      }
    }
  }
}

// Half of a half float; below 2^-13, where it may lie between two multiples of 2^-24, the even one. What is no number stays none.
ALWAYS_INLINE uint16_t halved(uint16_t half) {
  const uint32_t sign = half & 0x8000u, magnitude = half & 0x7fffu;
  if (magnitude >= 0x7c00) return half;
  if (magnitude >= 0x800) return (uint16_t)(half - 0x400);
  return (uint16_t)(sign | (magnitude + (magnitude >> 1 & 1)) >> 1);
}

// The bytes of blocks that lie `stride` apart, those of one place side by side.
ALWAYS_INLINE void gather_trits(bytes_of_strip *trits, const struct ternary_block *rows, int64_t stride, int bytes) {
  for (int at = 0; at < bytes; at += 4) {
    uint32_t words[strip_outputs];
    for (int lane = 0; lane < strip_outputs; lane++) memcpy(words + lane, rows[lane * stride].trits + at, sizeof *words);
    for (int i = 0; i < 4; i++) put_bytes(trits + at + i, words, i);
  }
}

// A bit where the first trit of a fraction is as large as that of the least one; then the fraction begins with the next.
ALWAYS_INLINE bytes_of_strip next_sign(bytes_of_strip *fractions, uint8_t least, int bit) {
  const bytes_of_strip sign = (bytes_of_strip)(*fractions >= least) & (uint8_t)(1 << bit);
  *fractions *= (uint8_t)3;
  return sign;
}

// The signs of a strip's blocks. Digits of one place are trits side by side, as many as there are bytes: 32, then 16, then 4.
static void set_signs(bytes_of_strip (*signs)[4], const struct ternary_block *rows, int64_t stride, int64_t groups, uint8_t least) {
  bytes_of_strip trits[sizeof rows->trits];
  const int is_short = groups <= 5;
  gather_trits(trits, rows, stride, is_short ? 32 : (int)sizeof rows->trits);
  memset(signs, 0, sizeof(*signs) * ternary_groups);
  for (int g = 0; g < 4; g++) {
    for (int bit = 0; bit < 8; bit++) {
      bytes_of_strip own = trits[4 * g + bit % 4 + bit / 4 * 16];
      for (int digit = 0; digit < 5; digit++) signs[digit][g] |= next_sign(&own, least, bit);
    }
  }
  if (is_short) return;
  for (int g = 0; g < 4; g++) {
    for (int bit = 0; bit < 4; bit++) {
      bytes_of_strip own = trits[32 + 4 * g + bit];
      for (int digit = 0; digit < 5; digit++) signs[5 + digit / 2][g] |= next_sign(&own, least, bit + digit % 2 * 4);
    }
  }
  for (int bit = 0; bit < 4; bit++) {
    bytes_of_strip own = trits[48 + bit];
    for (int g = 0; g < 4; g++) signs[7][g] |= next_sign(&own, least, bit + 4);
  }
}

// Writes one of the two planes that a ternary one is the sum of, from its rows of ggml's tq1_0: that which adds half a scale where a trit
// is `least` or more, and takes half a scale where it is not. src/formats/slot-planes.ts does the same with rows of signs.
void kindred_arrange_ternary(void *to, const void *from, int64_t inputs, int64_t outputs, int least) {
  const int64_t groups = groups_of(inputs), blocks = blocks_of(groups), stride = (groups + ternary_groups - 1) / ternary_groups;
  clear_rest(to, groups, outputs);
  for (int64_t index = 0; index < outputs / strip_outputs; index++) {
    const struct ternary_block *rows = (const struct ternary_block *)from + index * strip_outputs * stride;
    const struct sign_strip strip = sign_strip_of(to, outputs, groups, index, 0);
    for (int64_t first = 0; first < groups; first += ternary_groups, rows++) {
      const int count = groups - first < ternary_groups ? (int)(groups - first) : ternary_groups;
      uint16_t *scales = (uint16_t *)strip.scales + first / block_groups * strip_outputs;
      for (int lane = 0; lane < strip_outputs; lane++) scales[lane] = halved(rows[lane * stride].scale);
      if (first / block_groups + 1 < blocks) memcpy(scales + strip_outputs, scales, strip_outputs * sizeof *scales);
      bytes_of_strip signs[ternary_groups][4];
      set_signs(signs, rows, stride, count, (uint8_t)((256 * least + 2) / 3));
      memcpy((uint8_t *)strip.signs + first * group_signs, signs, (size_t)count * group_signs);
    }
  }
}
