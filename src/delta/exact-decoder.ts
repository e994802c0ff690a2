import { CorruptCode, SymbolDecoder, type SymbolModel, wordsOf } from "../entropy/index.js";
import type { FloatDType } from "../formats/index.js";
import { CHUNK_ELEMENTS, chunkBytes, type ExactChunk, type ExactHeader, parseHeader } from "./exact-header.js";
import { FIRST_WITH_RAW_BITS, symbolBases, symbolRawBits } from "./exact-symbols.js";
import { bytesOf, contextsByUpper, type FloatBits, keyOf, lookUpUpper, magnitudeMaskOf } from "./float-bits.js";

/**
 * Turns a reference into the tensor that `encodeExact` was given beside it. O(elements), a few ns each.
 *
 * @param tensor the reference; the tensor, bit for bit, when this returns
 * @throws {CorruptCode} if `code` is not what was written for a tensor of this size; `tensor` is undefined then. Damage
 *   that leaves a well-formed code is not found here: that takes a checksum
 */
export function decodeExact(dtype: FloatDType, tensor: FloatBits, code: Uint8Array): void {
  const { header, chunksOffset } = parseHeader(code, tensor.length);
  const decoder = new ChunkDecoder(dtype, header);
  let offset = chunksOffset;
  for (const [index, chunk] of header.chunks.entries()) {
    const part = tensor.subarray(index * CHUNK_ELEMENTS, (index + 1) * CHUNK_ELEMENTS);
    const end = offset + chunkBytes(chunk, part);
    if (end > code.length) throw new CorruptCode("its chunks are cut off");
    decoder.decode(chunk, code.subarray(offset, end), part);
    offset = end;
  }
  if (offset !== code.length) throw new CorruptCode("bytes follow its last chunk");
}

/** Decodes chunks of one tensor. */
class ChunkDecoder {
  readonly #header: ExactHeader;
  readonly #contextOfUpper: Uint8Array;
  /** {@link symbolBases} in steps of the bits that are not dropped. */
  readonly #bases: Int32Array;
  /** Made when first needed: their tables take as long as many elements do. */
  readonly #decoders = new Map<SymbolModel, SymbolDecoder>();
  readonly #contexts = new Uint8Array(CHUNK_ELEMENTS);
  readonly #noContexts = new Uint8Array(CHUNK_ELEMENTS);
  readonly #symbols = new Uint8Array(CHUNK_ELEMENTS);
  readonly #positions = new Uint32Array(CHUNK_ELEMENTS);

  constructor(dtype: FloatDType, header: ExactHeader) {
    this.#header = header;
    this.#contextOfUpper = contextsByUpper(dtype, header.contextOf);
    this.#bases = symbolBases.map((base) => base << header.droppedBits);
  }

  /** Changes `tensor`, the reference's elements of a chunk, to the tuned ones. */
  decode(chunk: ExactChunk, code: Uint8Array, tensor: FloatBits): void {
    if (chunk.mode === "raw") bytesOf(tensor).set(code.subarray(0, tensor.byteLength));
    else if (chunk.mode === "dense") this.#decodeDense(chunk.symbolBytes, code, tensor);
    else if (chunk.mode === "sparse") this.#decodeSparse(chunk, code, tensor);
  }

  #decodeDense(symbolBytes: number, code: Uint8Array, tensor: FloatBits): void {
    const { droppedBits, dense } = this.#header;
    lookUpUpper(tensor, this.#contextOfUpper, this.#contexts);
    this.#decoder(dense).decode(code.subarray(0, symbolBytes), this.#contexts, this.#symbols, tensor.length);
    const raw = wordsOf(code.subarray(symbolBytes));
    checkRawEnd(addAll(tensor, this.#symbols, raw, this.#bases, droppedBits), raw);
  }

  #decodeSparse(chunk: ExactChunk & { mode: "sparse" }, code: Uint8Array, tensor: FloatBits): void {
    const { droppedBits, gaps, sparse } = this.#header;
    const { events, gapBytes, symbolBytes } = chunk;
    if (events > tensor.length) throw new CorruptCode("it changes more elements than there are");
    const raw = wordsOf(code.subarray(gapBytes + symbolBytes));
    const positions = this.#positions.subarray(0, events);

    this.#decoder(gaps).decode(code.subarray(0, gapBytes), this.#noContexts, this.#symbols, events);
    const rawBitsRead = gapsToPositions(this.#symbols, raw, positions);
    if (positions[events - 1]! >= tensor.length) throw new CorruptCode("it changes elements beyond the last");
    // The elements that change, side by side, go the way of a dense chunk and back.
    const changing = tensor.slice(0, events);
    for (let event = 0; event < events; event++) changing[event] = tensor[positions[event]!]!;
    lookUpUpper(changing, this.#contextOfUpper, this.#contexts);
    const symbols = code.subarray(gapBytes, gapBytes + symbolBytes);
    this.#decoder(sparse).decode(symbols, this.#contexts, this.#symbols, events);
    checkRawEnd(addAll(changing, this.#symbols, raw, this.#bases, droppedBits, rawBitsRead), raw);
    for (let event = 0; event < events; event++) tensor[positions[event]!] = changing[event]!;
  }

  #decoder(model: SymbolModel): SymbolDecoder {
    const known = this.#decoders.get(model);
    if (known) return known;
    const made = new SymbolDecoder(model);
    this.#decoders.set(model, made);
    return made;
  }
}

// The loops over elements: plain functions of arrays and numbers, which V8 compiles best. Raw bits are taken from a window
// of 32 bits over two words; one beyond the last word is 0, and found out at the end.

/** Adds each element's difference to its key, with raw bits from bit `at` on. Returns where these end. */
function addAll(
  tensor: FloatBits,
  symbols: Uint8Array,
  raw: Uint32Array,
  bases: Int32Array,
  droppedBits: number,
  at = 0,
): number {
  const rawBits = symbolRawBits;
  const magnitudeMask = magnitudeMaskOf(tensor);
  const signMask = ~magnitudeMask;
  for (let i = 0; i < tensor.length; i++) {
    const symbol = symbols[i]!;
    let difference = bases[symbol]!;
    if (symbol >= FIRST_WITH_RAW_BITS) {
      const count = rawBits[symbol]!;
      const window = (raw[at >>> 5]! >>> (at & 31)) | ((raw[(at >>> 5) + 1]! << 1) << (31 - (at & 31)));
      const bits = (window & ((1 << count) - 1)) << droppedBits;
      difference = (symbol & 1 ? difference - bits : difference + bits) | 0;
      at += count;
    }
    // While the sign stays, the key of a positive float goes with its bits and that of a negative one against them.
    const bits = tensor[i]!;
    const sign = bits >> 31;
    const sum = (bits + ((difference ^ sign) - sign)) | 0;
    tensor[i] = ((sum ^ bits) & signMask) === 0 ? sum : stepThroughZero(bits, difference, magnitudeMask, droppedBits);
  }
  return at;
}

/** The bits of the float whose key lies as far as `difference` says from that of one with the other sign. */
function stepThroughZero(bits: number, difference: number, magnitudeMask: number, droppedBits: number): number {
  const key = ((keyOf(bits, magnitudeMask, droppedBits) << droppedBits) + difference) >> droppedBits;
  return (key ^ ((key >> 31) & (magnitudeMask >>> droppedBits))) << droppedBits;
}

/** Fills `positions` from the gaps before them; one too far on damaged input, never backwards. Returns raw bits read. */
function gapsToPositions(symbols: Uint8Array, raw: Uint32Array, positions: Uint32Array): number {
  let at = 0;
  let position = -1;
  for (let i = 0; i < positions.length; i++) {
    const symbol = symbols[i]!;
    const count = symbolRawBits[symbol]!;
    const window = (raw[at >>> 5]! >>> (at & 31)) | ((raw[(at >>> 5) + 1]! << 1) << (31 - (at & 31)));
    const gap = Math.abs(symbolBases[symbol]!) + (window & ((1 << count) - 1));
    at += count;
    position = Math.min(position + 1 + gap, 2 ** 31);
    positions[i] = position;
  }
  return at;
}

function checkRawEnd(bitsRead: number, raw: Uint32Array): void {
  // The last word is the one that wordsOf adds.
  if (Math.ceil(bitsRead / 32) !== raw.length - 1) throw new CorruptCode("its raw bits do not end where they should");
}
