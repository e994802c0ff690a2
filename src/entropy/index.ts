export { BitReader, BitWriter, wordsOf } from "./bits.js";
export { CorruptCode } from "./corrupt-code.js";
export { placesOf, STATE_MIN, SymbolDecoder, SymbolEncoder, SymbolStream } from "./rans.js";
export { entropyBits, FREQUENCY_TOTAL, PROBABILITY_BITS, SYMBOLS_MAX, SymbolModel } from "./symbol-model.js";
