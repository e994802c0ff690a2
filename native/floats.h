// Registers of floats, for whatever is computed in floats with every set of instructions in the same way. floats-avx2.h and its like define
// TARGET and
//
//   vec, lanes                        a register of floats, and how many; a power of two, 16 at most
//   fours_at_once                     as there are registers for: four times as many sums, 4 at most
//   load(from), store(to, v), splat(x)
//   add(a, b), multiply(a, b), multiply_add(a, b, c)       a + b, a · b, a · b + c
//   larger(a, b)                      of each pair of numbers the larger one
//   sums(a, b, c, d, to)              the sum of each of four, side by side: first that of each four lanes, (0 + partner) + (the others)
//   partner                           1 or 2; of two fours they are added, of four the first and the third first
//   signed_by(v, bytes, bit)          v where that bit of as many bytes is 1, and −v where not
//   from_halves(from)                 as many half floats, and `count` of them, zeros after
//   from_some_halves(from, count)
//   from_brains(from)                 as many bf16
//   from_bytes(from)                  as many integers of 8 bits
//   from_half_bytes(from, high)       the low or high halves of as many bytes, less 8
#pragma once
#include <string.h>
#include "tensor.h"

// What is stored: ggml's numbers of its types, and blocks of 32.
enum { type_f32 = 0, type_f16 = 1, type_q4_0 = 2, type_q8_0 = 8 };

struct q8_0_block {
  uint16_t scale;  // half float
  int8_t values[32];
};

struct q4_0_block {
  uint16_t scale;      // half float
  uint8_t values[16];  // low halves: 0 … 15, high halves: 16 … 31, all 8 too large
};
