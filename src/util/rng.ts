/**
 * Counter-based random numbers: the value depends on the seed and the position alone, so a completion that is
 * resumed at token 40 draws what it would have drawn had it never stopped. (splitmix64 finaliser on 32-bit halves
 * is replaced by two rounds of murmur3's, which needs no BigInt.)
 *
 * @returns a double in [0, 1) with 32 random bits
 */
export function uniformAt(seed: number, position: number): number {
  let h = mix(Math.trunc(seed) >>> 0);
  h = mix(h ^ (Math.floor(seed / 2 ** 32) >>> 0));
  h = mix((h ^ position) >>> 0);
  return h / 2 ** 32;
}

/** Murmur3's 32-bit finaliser: every input bit changes half of the output bits. */
function mix(value: number): number {
  let h = (value + 0x9e3779b9) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
