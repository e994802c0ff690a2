import {
  CorruptCode,
  PROBABILITY_BITS,
  placesOf,
  SymbolDecoder,
  type SymbolModel,
  SymbolStream,
} from "../entropy/index.js";
import type { FloatDType } from "../formats/index.js";
import { fillRows, type Levels } from "./exact-contexts.js";
import { changedBits, HalvesDecoder, RawBits, valueOfSymbol } from "./exact-elements.js";
import { CHUNK_ELEMENTS, chunkBytes, type ExactChunk, type ExactHeader, parseHeader } from "./exact-header.js";
import { decodeLevels } from "./exact-levels.js";
import { symbolBases } from "./exact-symbols.js";
import { bytesOf, type FloatBits, magnitudeMaskOf, UPPER_VALUES, upperShiftOf } from "./float-bits.js";

/**
 * Turns a reference into the tensor that `encodeExact` was given beside it. O(elements), a few ns each.
 *
 * @param tensor the reference; the tensor, bit for bit, when this returns
 * @param hints those that `encodeExact` was given
 * @throws {CorruptCode} if `code` is not what was written for a tensor of this size; `tensor` is undefined then. Damage
 *   that leaves a well-formed code is not found here: that takes a checksum
 */
export function decodeExact(dtype: FloatDType, tensor: FloatBits, hints: Float32Array | null, code: Uint8Array): void {
  const { header, levelsOffset } = parseHeader(code, tensor.length, hints !== null);
  if (header.droppedBits > 0 && dtype !== "f32") throw new CorruptCode("it drops bits of 16-bit floats");
  let offset = levelsOffset + header.levelBytes;
  if (offset > code.length) throw new CorruptCode("its levels are cut off");
  const levels = decodeLevels(header, code.subarray(levelsOffset, offset), tensor.length);
  const decoder = new ChunkDecoder(dtype, header, levels, hints);
  for (const [index, chunk] of header.chunks.entries()) {
    const first = index * CHUNK_ELEMENTS;
    const part = tensor.subarray(first, first + CHUNK_ELEMENTS);
    const end = offset + chunkBytes(chunk, part);
    if (end > code.length) throw new CorruptCode("its chunks are cut off");
    decoder.decode(chunk, code.subarray(offset, end), part, first);
    offset = end;
  }
  if (offset !== code.length) throw new CorruptCode("bytes follow its last chunk");
}

/** Decodes chunks of one tensor. */
class ChunkDecoder {
  readonly #header: ExactHeader;
  readonly #levels: Levels;
  readonly #hints: Float32Array | null;
  /** Where the places of an element's context begin, by its row and upper bits: `[rows, UPPER_VALUES]`. */
  readonly #contextOf: Int32Array;
  /** Of differences. Made when first needed: they take as long as many elements do. */
  readonly #places = new Map<SymbolModel, Int32Array>();
  #gaps: SymbolDecoder | undefined;
  readonly #stream = new SymbolStream();
  readonly #halves = new HalvesDecoder();
  readonly #rows = new Uint8Array(CHUNK_ELEMENTS);
  readonly #noContexts = new Uint8Array(CHUNK_ELEMENTS);
  readonly #gapSymbols = new Uint8Array(CHUNK_ELEMENTS);

  constructor(dtype: FloatDType, header: ExactHeader, levels: Levels, hints: Float32Array | null) {
    this.#header = header;
    this.#levels = levels;
    this.#hints = hints;
    this.#contextOf = header.contexts.byRow(dtype, 1 << PROBABILITY_BITS);
  }

  /** Changes `tensor`, the reference's elements of a chunk, of which `first` is the first, to the tuned ones. */
  decode(chunk: ExactChunk, code: Uint8Array, tensor: FloatBits, first: number): void {
    if (chunk.mode === "raw") bytesOf(tensor).set(code.subarray(0, tensor.byteLength));
    if (chunk.mode === "copy" || chunk.mode === "raw") return;
    fillRows(this.#rows, this.#levels, this.#hints, first, tensor.length);
    if (chunk.mode === "dense") this.#decodeDense(chunk.symbolBytes, code, tensor);
    else this.#decodeSparse(chunk, code, tensor);
  }

  #decodeDense(symbolBytes: number, code: Uint8Array, tensor: FloatBits): void {
    const places = this.#placesOf(this.#header.models.dense);
    const raw = new RawBits(code.subarray(symbolBytes));
    const stream = this.#stream;
    stream.open(code.subarray(0, symbolBytes), tensor.length);
    const tables = { places, contextOf: this.#contextOf, rows: this.#rows };
    const done = tensor instanceof Int16Array ? this.#halves.decode(tensor, stream, raw, tables) : 0;
    this.#decodeEach(tensor, places, raw, done, tensor.length, null);
    stream.close();
    raw.close();
  }

  #decodeSparse(chunk: ExactChunk & { mode: "sparse" }, code: Uint8Array, tensor: FloatBits): void {
    const { events, gapBytes, symbolBytes } = chunk;
    const { models } = this.#header;
    if (events > tensor.length) throw new CorruptCode("it changes more elements than there are");
    const raw = new RawBits(code.subarray(gapBytes + symbolBytes));
    this.#gaps ??= new SymbolDecoder(models.gaps);
    this.#gaps.decode(code.subarray(0, gapBytes), this.#noContexts, this.#gapSymbols, events);
    const positions = this.#positions(events, raw);
    if (positions[events - 1]! >= tensor.length) throw new CorruptCode("it changes elements beyond the last");
    this.#stream.open(code.subarray(gapBytes, gapBytes + symbolBytes), events);
    this.#decodeEach(tensor, this.#placesOf(models.sparse), raw, 0, events, positions);
    this.#stream.close();
    raw.close();
  }

  /** Where elements change, from the gaps before them: one too far on damaged input, never backwards. */
  #positions(events: number, raw: RawBits): Uint32Array {
    const positions = new Uint32Array(events);
    let position = -1;
    for (let event = 0; event < events; event++) {
      const symbol = this.#gapSymbols[event]!;
      position = Math.min(position + 1 + Math.abs(symbolBases[symbol]!) + raw.take(symbol), 2 ** 31);
      positions[event] = position;
    }
    return positions;
  }

  /** One symbol after the other, from number `from` to number `to`, of the elements at `positions`: of all where these are null. */
  #decodeEach(
    tensor: FloatBits,
    places: Int32Array,
    raw: RawBits,
    from: number,
    to: number,
    positions: Uint32Array | null,
  ): void {
    const stream = this.#stream;
    const contextOf = this.#contextOf;
    const rows = this.#rows;
    const mask = magnitudeMaskOf(tensor);
    const shift = upperShiftOf(tensor);
    const { droppedBits } = this.#header;
    for (let index = from; index < to; index++) {
      const i = positions ? positions[index]! : index;
      const bits = tensor[i]!;
      const row = contextOf[rows[i]! * UPPER_VALUES + ((bits >>> shift) & (UPPER_VALUES - 1))]!;
      tensor[i] = changedBits(bits, stream.take(places, row, index), raw, mask, droppedBits);
    }
  }

  #placesOf(model: SymbolModel): Int32Array {
    const known = this.#places.get(model);
    if (known) return known;
    const made = placesOf(model, valueOfSymbol);
    this.#places.set(model, made);
    return made;
  }
}
