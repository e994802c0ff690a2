export { BitReader, BitWriter, wordsOf } from "./bits.js";
export { CorruptCode } from "./corrupt-code.js";
export { SymbolDecoder, SymbolEncoder } from "./rans.js";
export { entropyBits, SYMBOLS_MAX, SymbolModel } from "./symbol-model.js";
