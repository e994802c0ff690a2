// A safetensors file, little-endian, offsets in bytes:
//
//   0             8                   8 + headerBytes
//   ┌─────────────┬───────────────────┬──────────┬──────────┬────
//   │ headerBytes │ header            │ tensor A │ tensor B │ …
//   │ u64         │ JSON, space-padded│          │          │
//   └─────────────┴───────────────────┴──────────┴──────────┴────
//
//   header: { "A": { "dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24] }, …, "__metadata__": { "k": "v" } }
//
// `data_offsets` count from the end of the header. The tensors, ordered by offset, cover the rest of the file without
// overlap or gap; matrices are row-major.

import { InvalidFile } from "../core/index.js";
import { isRecord } from "../util/index.js";
import type { ByteSource } from "./byte-source.js";

/** Element types that this reader and writer know, with their size in bytes. U8 holds packed blobs. */
export const safetensorsElementBytes = { F32: 4, F16: 2, BF16: 2, U8: 1 } as const;

export type SafetensorsDType = keyof typeof safetensorsElementBytes;

/** One tensor of a safetensors file. */
export interface SafetensorsEntry {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  /** Of its first byte, from the start of the file. */
  readonly offset: number;
  readonly byteLength: number;
}

/** What the header of a safetensors file says. */
export interface SafetensorsHeader {
  /** By name, in the order of their offsets. */
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The format's own limit; it keeps a corrupt length from allocating. */
const headerBytesMax = 100_000_000;

/**
 * Reads and checks a header: every tensor has a known type, as many bytes as its shape asks for, and the tensors cover
 * the data exactly.
 *
 * @throws {InvalidFile} naming the tensor and what is wrong with it
 */
export async function readSafetensorsHeader(source: ByteSource): Promise<SafetensorsHeader> {
  if (source.size < 8)
    throw new InvalidFile(source.path, `it has ${source.size} bytes, a safetensors file has at least 8`);
  const prefix = new Uint8Array(8);
  await source.read(0, prefix);
  const headerBytes = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (headerBytes > headerBytesMax) {
    throw new InvalidFile(
      source.path,
      `its first 8 bytes announce a header of ${headerBytes} bytes, above ${headerBytesMax}`,
    );
  }
  if (8 + headerBytes > source.size) {
    throw new InvalidFile(
      source.path,
      `it is truncated: the header ends at byte ${8 + headerBytes}, the file at ${source.size}`,
    );
  }
  const header = new Uint8Array(headerBytes);
  await source.read(8, header);
  const json = parseHeader(source.path, header);

  const entries: SafetensorsEntry[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name !== "__metadata__") entries.push(parseEntry(source.path, name, value, 8 + headerBytes));
  }
  entries.sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength);
  checkCoverage(source, entries, 8 + headerBytes);
  return {
    entries: new Map(entries.map((entry) => [entry.name, entry])),
    metadata: parseMetadata(source.path, json.__metadata__),
  };
}

function parseHeader(path: string, bytes: Uint8Array): Readonly<Record<string, unknown>> {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new InvalidFile(path, "its safetensors header is not valid JSON", { cause });
  }
  if (!isRecord(json)) throw new InvalidFile(path, "its safetensors header is not a JSON object");
  return json;
}

function parseEntry(path: string, name: string, value: unknown, dataStart: number): SafetensorsEntry {
  const fail = (problem: string) => new InvalidFile(path, `tensor "${name}" ${problem}`, { details: { tensor: name } });
  if (!isRecord(value)) throw fail("is not described by an object");
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isSafetensorsDType(dtype)) {
    const known = Object.keys(safetensorsElementBytes).join(", ");
    throw fail(`has dtype ${JSON.stringify(dtype)}; known are ${known}`);
  }
  if (!isSizes(shape)) throw fail(`has shape ${JSON.stringify(shape)}, expected non-negative integers`);
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!) {
    throw fail(`has data_offsets ${JSON.stringify(offsets)}, expected [begin, end]`);
  }
  const byteLength = offsets[1]! - offsets[0]!;
  const expected = shape.reduce((product, extent) => product * extent, safetensorsElementBytes[dtype]);
  if (byteLength !== expected) {
    throw fail(`has ${byteLength} bytes, but ${dtype} of shape [${shape.join(", ")}] takes ${expected}`);
  }
  return { name, dtype, shape, offset: dataStart + offsets[0]!, byteLength };
}

function checkCoverage(source: ByteSource, entries: readonly SafetensorsEntry[], dataStart: number): void {
  let end = dataStart;
  for (const { name, offset, byteLength } of entries) {
    if (offset + byteLength > source.size) {
      throw new InvalidFile(
        source.path,
        `it is truncated: tensor "${name}" ends at byte ${offset + byteLength}, the file at ${source.size}`,
        { details: { tensor: name } },
      );
    }
    if (offset !== end) {
      const problem = offset < end ? "overlaps the one before it" : "leaves a gap before it";
      throw new InvalidFile(source.path, `tensor "${name}" ${problem}: it begins at byte ${offset}, expected ${end}`, {
        details: { tensor: name },
      });
    }
    end += byteLength;
  }
  if (end !== source.size) {
    throw new InvalidFile(source.path, `its tensors end at byte ${end}, but the file has ${source.size}`);
  }
}

function parseMetadata(path: string, value: unknown): Readonly<Record<string, string>> {
  if (value === undefined || value === null) return {};
  if (!isRecord(value) || !Object.values(value).every((item) => typeof item === "string")) {
    throw new InvalidFile(path, "the __metadata__ of its safetensors header is not an object of strings");
  }
  return value as Readonly<Record<string, string>>;
}

function isSafetensorsDType(value: unknown): value is SafetensorsDType {
  return typeof value === "string" && Object.hasOwn(safetensorsElementBytes, value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}
