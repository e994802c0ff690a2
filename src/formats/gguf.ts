// A GGUF file, version 2 or 3, little-endian, offsets in bytes:
//
//   0        4         8             16              24
//   ┌────────┬─────────┬─────────────┬───────────────┬──────────┬─────────────┬─────────┬──────────────────
//   │ "GGUF" │ version │ tensorCount │ metadataCount │ metadata │ tensor table│ padding │ tensor bytes …
//   │        │ u32     │ u64         │ u64           │          │             │         │
//   └────────┴─────────┴─────────────┴───────────────┴──────────┴─────────────┴─────────┴──────────────────
//
//   metadata entry   key: string, type: u32, value            string = byteLength: u64, UTF-8
//   array value      itemType: u32, count: u64, items         (no arrays of arrays)
//   tensor entry     name: string, axes: u32, extents: u64 × axes (fastest first), type: u32, offset: u64
//
// Tensor offsets count from the end of the padding, and both they and the padding are multiples of
// `general.alignment`, 32 unless the metadata says otherwise. Matrices are stored row by row, rows in whole blocks.

import { type DType, dtypes, elementCount, InvalidFile, tensorBytes, UnsupportedModel } from "../core/index.js";
import { alignUp } from "../util/index.js";
import type { ByteSource } from "./byte-source.js";
import { GgufCursor, NeedsMoreBytes } from "./gguf-cursor.js";

/** A metadata value; 64-bit integers are doubles. */
export type GgufValue = string | number | boolean | readonly string[] | readonly number[] | readonly boolean[];

/** One tensor of a GGUF file. */
export interface GgufTensor {
  readonly name: string;
  /** Row-major: the reverse of the order in the file. */
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** Of its first byte, from the start of the file. */
  readonly offset: number;
  readonly byteLength: number;
}

/** Everything a GGUF file says before the tensors' bytes. */
export interface GgufHeader {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

interface TensorEntry {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly relativeOffset: number;
}

/** Real headers are some 10 MB, nearly all vocabulary. */
const headerBytesMax = 2 ** 28;
const firstReadBytes = 2 ** 20;
const arrayItemsMax = 2 ** 24;
const axesMax = 4;

/**
 * Reads the metadata and the tensor table, and checks that every tensor lies inside the file and overlaps no other.
 *
 * @throws {InvalidFile} if it is no GGUF file, is truncated, or contradicts itself
 * @throws {UnsupportedModel} for a version or an element type that is not read
 */
export async function readGgufHeader(source: ByteSource): Promise<GgufHeader> {
  for (let byteLength = Math.min(source.size, firstReadBytes); ; byteLength = Math.min(source.size, byteLength * 4)) {
    const bytes = Buffer.alloc(byteLength);
    await source.read(0, bytes);
    try {
      return parseHeader(source, new GgufCursor(source.path, bytes, source.size));
    } catch (error) {
      if (!(error instanceof NeedsMoreBytes)) throw error;
    }
    if (byteLength >= headerBytesMax) {
      throw new InvalidFile(source.path, `its header does not end within the first ${headerBytesMax} bytes`);
    }
  }
}

function parseHeader(source: ByteSource, cursor: GgufCursor): GgufHeader {
  const { path } = source;
  // Read as text, so that the message can show what was there instead.
  const magic = String.fromCharCode(cursor.uint8(), cursor.uint8(), cursor.uint8(), cursor.uint8());
  if (magic !== "GGUF") throw new InvalidFile(path, `it begins with ${JSON.stringify(magic)}, a GGUF file with "GGUF"`);
  const version = cursor.uint32();
  if (version !== 2 && version !== 3) {
    throw new UnsupportedModel(path, `it is GGUF version ${version}; 2 and 3 are read, in little-endian order`);
  }
  const tensorCount = cursor.count("tensors", 32);
  const metadataCount = cursor.count("metadata entries", 13);

  const metadata = new Map<string, GgufValue>();
  for (let index = 0; index < metadataCount; index++) {
    const key = cursor.string();
    if (metadata.has(key)) throw new InvalidFile(path, `its metadata has the key "${key}" twice`);
    metadata.set(key, parseValue(path, key, cursor));
  }
  const entries: TensorEntry[] = [];
  for (let index = 0; index < tensorCount; index++) entries.push(parseTensor(path, cursor));
  return { metadata, tensors: placeTensors(source, entries, cursor.offset, parseAlignment(path, metadata)) };
}

/** How each value type is read, by its number in the file; arrays are type 9. */
const scalars: Readonly<Record<number, (cursor: GgufCursor) => string | number | boolean>> = {
  0: (cursor) => cursor.uint8(),
  1: (cursor) => cursor.int8(),
  2: (cursor) => cursor.uint16(),
  3: (cursor) => cursor.int16(),
  4: (cursor) => cursor.uint32(),
  5: (cursor) => cursor.int32(),
  6: (cursor) => cursor.float32(),
  7: (cursor) => cursor.uint8() !== 0,
  8: (cursor) => cursor.string(),
  10: (cursor) => cursor.uint64(),
  11: (cursor) => cursor.int64(),
  12: (cursor) => cursor.float64(),
};
const arrayType = 9;

function parseValue(path: string, key: string, cursor: GgufCursor): GgufValue {
  const type = cursor.uint32();
  const readScalar = scalars[type];
  if (readScalar) return readScalar(cursor);
  if (type !== arrayType) throw new InvalidFile(path, `metadata "${key}" has value type ${type}, which does not exist`);
  const itemType = cursor.uint32();
  const readItem = scalars[itemType];
  if (!readItem)
    throw new InvalidFile(path, `metadata "${key}" is an array of value type ${itemType}, expected a scalar`);
  const count = cursor.count(`items of "${key}"`, 1);
  if (count > arrayItemsMax)
    throw new InvalidFile(path, `metadata "${key}" has ${count} items, above ${arrayItemsMax}`);
  const items: (string | number | boolean)[] = [];
  for (let index = 0; index < count; index++) items.push(readItem(cursor));
  return items as GgufValue; // one reader gives items of one type
}

function parseTensor(path: string, cursor: GgufCursor): TensorEntry {
  const name = cursor.string();
  const fail = (problem: string) => new InvalidFile(path, `tensor "${name}" ${problem}`, { details: { tensor: name } });
  const axes = cursor.uint32();
  if (axes < 1 || axes > axesMax) throw fail(`has ${axes} axes, expected 1 to ${axesMax}`);
  const shape: number[] = [];
  for (let axis = 0; axis < axes; axis++) shape.unshift(cursor.uint64());
  if (shape.some((extent) => extent < 1) || !Number.isSafeInteger(elementCount(shape))) {
    throw fail(`has shape [${shape.join(", ")}], expected positive extents`);
  }
  const type = cursor.uint32();
  const dtype = dtypeOf.get(type);
  if (!dtype) throw new UnsupportedModel(path, `tensor "${name}" has ggml element type ${type}, which is not computed`);
  const { blockSize } = dtypes[dtype];
  if (shape.at(-1)! % blockSize !== 0)
    throw fail(`has rows of ${shape.at(-1)}, which do not fill ${dtype} blocks of ${blockSize}`);
  return { name, shape, dtype, relativeOffset: cursor.uint64() };
}

const dtypeOf: ReadonlyMap<number, DType> = new Map(
  Object.entries(dtypes).map(([name, { id }]) => [id, name as DType]),
);

function parseAlignment(path: string, metadata: ReadonlyMap<string, GgufValue>): number {
  const alignment = metadata.get("general.alignment") ?? 32;
  if (
    typeof alignment === "number" &&
    alignment >= 1 &&
    alignment <= 2 ** 20 &&
    Number.isInteger(Math.log2(alignment))
  ) {
    return alignment;
  }
  throw new InvalidFile(path, `general.alignment is ${JSON.stringify(alignment)}, expected a power of two up to 2^20`);
}

function placeTensors(
  source: ByteSource,
  entries: readonly TensorEntry[],
  tableEnd: number,
  alignment: number,
): ReadonlyMap<string, GgufTensor> {
  const dataStart = alignUp(tableEnd, alignment);
  const tensors = new Map<string, GgufTensor>();
  let end = dataStart;
  for (const entry of [...entries].sort((a, b) => a.relativeOffset - b.relativeOffset)) {
    const { name, shape, dtype } = entry;
    const fail = (problem: string) => new InvalidFile(source.path, problem, { details: { tensor: name } });
    const offset = dataStart + entry.relativeOffset;
    const byteLength = tensorBytes(dtype, shape);
    if (tensors.has(name)) throw fail(`it has two tensors called "${name}"`);
    if (entry.relativeOffset % alignment !== 0) {
      throw fail(`tensor "${name}" has offset ${entry.relativeOffset}, which is not a multiple of ${alignment}`);
    }
    if (offset < end)
      throw fail(`tensor "${name}" begins at byte ${offset}, inside the tensor before it, which ends at ${end}`);
    end = offset + byteLength;
    if (end > source.size)
      throw fail(`it is truncated: tensor "${name}" ends at byte ${end}, the file at ${source.size}`);
    tensors.set(name, { name, shape, dtype, offset, byteLength });
  }
  return tensors;
}
