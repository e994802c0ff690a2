// How the difference d of two floats is told (float-bits.ts). Small ones are symbols by themselves; of others the symbol says the
// sign, the magnitude's highest bit and the bit after it, and the bits below follow as they are.
//
//   |d|       0   1   2  …  63   64–95  96–127   128–191  192–255   256–383  …
//   class     0   1   2  …  63     64     65        66       67        68    …      symbol = 2 · class + (1 where d < 0)
//   raw bits  0   0   0      0      5      5         6        6         7

import { SYMBOLS_MAX } from "../entropy/index.js";

/** Classes up to that of 2^31. */
const CLASSES = 115;
const DIRECT_CLASSES = 64;
/** Of the first class that has any. */
const RAW_BITS_MIN = 5;

/** No symbol below this is followed by raw bits. */
export const FIRST_WITH_RAW_BITS = 2 * DIRECT_CLASSES;

/** For each symbol, the difference of the smallest magnitude that it stands for; 0 for those that stand for none. */
export const symbolBases = new Int32Array(SYMBOLS_MAX);

/** For each symbol, how many raw bits follow: they are added to the magnitude. */
export const symbolRawBits = new Uint8Array(SYMBOLS_MAX);

for (let symbol = 0; symbol < CLASSES * 2; symbol++) {
  const kind = symbol >> 1;
  const rawBits = kind < DIRECT_CLASSES ? 0 : RAW_BITS_MIN + ((kind - DIRECT_CLASSES) >> 1);
  const magnitude = kind < DIRECT_CLASSES ? kind : (2 + (kind & 1)) * 2 ** rawBits;
  symbolRawBits[symbol] = rawBits;
  symbolBases[symbol] = symbol & 1 ? -magnitude : magnitude;
}

/** The symbol of a difference, any signed 32-bit number. */
export function symbolOf(difference: number): number {
  const magnitude = difference < 0 ? -difference : difference;
  const sign = difference >>> 31;
  if (magnitude < DIRECT_CLASSES) return 2 * magnitude + sign;
  const rawBits = 30 - Math.clz32(magnitude);
  // The upper two bits are 2 or 3.
  return 2 * (DIRECT_CLASSES + 2 * (rawBits - RAW_BITS_MIN) + ((magnitude >>> rawBits) & 1)) + sign;
}

/** What follows a symbol: the magnitude's lower bits. */
export function rawBitsOf(difference: number, symbol: number): number {
  const magnitude = difference < 0 ? -difference : difference;
  return magnitude & ((1 << symbolRawBits[symbol]!) - 1);
}
