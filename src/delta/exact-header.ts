// What turns a reference tensor into another of the same float dtype, bit for bit. Lengths are in bytes, little-endian.
//
//   0             4             4 + n
//   ┌─────────────┬─────────────┬─────────┬─────────┬─────────┬────
//   │ n, u32      │ header      │ levels  │ chunk 0 │ chunk 1 │ …            each a multiple of 4 bytes, COPY none
//   └─────────────┴─────────────┴─────────┴─────────┴─────────┴────
//
// A chunk is 65536 elements in row-major order, the last what is left; each is decoded by itself. What is coded is the difference d of
// the tuned from the reference's float (float-bits.ts), as symbols and raw bits (exact-symbols.ts), a symbol in a context that depends on
// the reference, the planes, and the level of the run that the element belongs to (exact-contexts.ts).
//
//   mode 0  COPY     nothing: d = 0 throughout
//        1  SPARSE   symbols of gaps │ symbols of each d that is not 0 │ raw bits of gaps, then of d
//        2  DENSE    symbols of every d │ raw bits
//        3  RAW      the tuned elements themselves, then zeros
//
// A gap is the number of elements without a difference before one with it. Levels are symbols of how much each run's is above that of the
// run before, the first above 0, all under one distribution. What is in symbols is coded as entropy/rans.ts draws it. The header is bits
// (entropy/bits.ts), γ being its gamma code:
//
//   dropped zero bits, 5      of f32, low bits that are 0 in every element of both tensors; keys are of the bits above
//   γ(elements of a run)
//   what level 0 is, 12       halves of log2, from -1023
//   γ(words + 1) of levels
//   contexts                  for each hint γ(their number), then for each its lowest diagonal, 10, ascending from 0
//   models                    of levels, one distribution; of DENSE and of SPARSE differences, one a context; of gaps, one
//   for each chunk            mode, 2; SPARSE: γ of its d's that are not 0; SPARSE, DENSE: γ(words + 1) of each part

import { BitReader, BitWriter, CorruptCode, SymbolModel } from "../entropy/index.js";
import { alignUp } from "../util/index.js";
import { ContextMap } from "./exact-contexts.js";

/** Elements of a chunk. */
export const CHUNK_ELEMENTS = 1 << 16;
const LOWEST_LEVEL_BITS = 12;

/** How a chunk is stored, with the byte lengths of its parts. */
export type ExactChunk =
  | { readonly mode: "copy" }
  | {
      readonly mode: "sparse";
      /** Elements that differ, at least one. */
      readonly events: number;
      readonly gapBytes: number;
      readonly symbolBytes: number;
      readonly rawBytes: number;
    }
  | { readonly mode: "dense"; readonly symbolBytes: number; readonly rawBytes: number }
  | { readonly mode: "raw" };

/** What is known of a coded tensor before its levels and chunks are looked at. */
export interface ExactHeader {
  readonly droppedBits: number;
  readonly runElements: number;
  /** What level 0 is, as `Levels` counts. */
  readonly lowestLevel: number;
  readonly levelBytes: number;
  readonly contexts: ContextMap;
  readonly models: ExactModels;
  readonly chunks: readonly ExactChunk[];
}

/** Distributions of all symbols of a tensor. */
export interface ExactModels {
  readonly levels: SymbolModel;
  readonly dense: SymbolModel;
  readonly sparse: SymbolModel;
  readonly gaps: SymbolModel;
}

const modes = ["copy", "sparse", "dense", "raw"] as const satisfies ExactChunk["mode"][];

/** Stored bytes of a chunk whose elements take `byteLength`. */
export function chunkBytes(chunk: ExactChunk, { byteLength }: { readonly byteLength: number }): number {
  switch (chunk.mode) {
    case "copy":
      return 0;
    case "sparse":
      return chunk.gapBytes + chunk.symbolBytes + chunk.rawBytes;
    case "dense":
      return chunk.symbolBytes + chunk.rawBytes;
    case "raw":
      return alignUp(byteLength, 4);
  }
}

/** The header as stored, its length before it. */
export function printHeader(header: ExactHeader): Uint8Array {
  const { models } = header;
  const writer = new BitWriter();
  writer.write(header.droppedBits, 5);
  writer.writeGamma(header.runElements);
  writer.write(header.lowestLevel, LOWEST_LEVEL_BITS);
  writer.writeGamma(header.levelBytes / 4 + 1);
  header.contexts.write(writer);
  for (const model of [models.levels, models.dense, models.sparse, models.gaps]) model.write(writer);
  for (const chunk of header.chunks) {
    writer.write(modes.indexOf(chunk.mode), 2);
    if (chunk.mode === "sparse") writer.writeGamma(chunk.events);
    if (chunk.mode === "sparse") writer.writeGamma(chunk.gapBytes / 4 + 1);
    if (chunk.mode === "sparse" || chunk.mode === "dense") {
      writer.writeGamma(chunk.symbolBytes / 4 + 1);
      writer.writeGamma(chunk.rawBytes / 4 + 1);
    }
  }
  const content = writer.finish();
  const bytes = new Uint8Array(4 + content.length);
  new DataView(bytes.buffer).setUint32(0, content.length, true);
  bytes.set(content, 4);
  return bytes;
}

/**
 * Reads the header of a tensor of `elements`, and where its levels begin.
 *
 * @param hasHints whether there are planes
 * @throws {CorruptCode} if it is no header
 */
export function parseHeader(
  bytes: Uint8Array,
  elements: number,
  hasHints: boolean,
): { header: ExactHeader; levelsOffset: number } {
  if (bytes.length < 4) throw new CorruptCode("it has no header");
  const headerBytes = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  if (4 + headerBytes > bytes.length) throw new CorruptCode("its header is cut off");
  const reader = new BitReader(bytes.subarray(4, 4 + headerBytes));
  const droppedBits = reader.read(5);
  const runElements = reader.readGamma();
  const lowestLevel = reader.read(LOWEST_LEVEL_BITS);
  const levelBytes = (reader.readGamma() - 1) * 4;
  const contexts = ContextMap.read(reader, hasHints);
  const models = {
    levels: SymbolModel.read(reader, 1),
    dense: SymbolModel.read(reader, contexts.contexts),
    sparse: SymbolModel.read(reader, contexts.contexts),
    gaps: SymbolModel.read(reader, 1),
  };
  const chunks = Array.from({ length: Math.ceil(elements / CHUNK_ELEMENTS) }, () => parseChunk(reader));
  const header = { droppedBits, runElements, lowestLevel, levelBytes, contexts, models, chunks };
  return { header, levelsOffset: 4 + headerBytes };
}

function parseChunk(reader: BitReader): ExactChunk {
  const mode = modes[reader.read(2)]!;
  if (mode === "copy" || mode === "raw") return { mode };
  const readBytes = () => (reader.readGamma() - 1) * 4;
  if (mode === "dense") return { mode, symbolBytes: readBytes(), rawBytes: readBytes() };
  const events = reader.readGamma();
  if (events > CHUNK_ELEMENTS) throw new CorruptCode(`a chunk of it changes ${events} elements, more than it has`);
  return { mode, events, gapBytes: readBytes(), symbolBytes: readBytes(), rawBytes: readBytes() };
}
