// GGUF files made on the spot.

import { type DType, dtypes, tensorBytes } from "../core/index.js";
import { alignUp } from "../util/index.js";

/** A metadata value with its GGUF type; arrays have one type for all their items. */
export type TypedValue =
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly bool: boolean }
  | { readonly text: string }
  | { readonly texts: readonly string[] }
  | { readonly i32s: readonly number[] }
  | { readonly f32s: readonly number[] };

/** A tensor with its row-major shape; zeros where no bytes are given. */
export interface GgufTensorInit {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype?: DType;
  readonly bytes?: Uint8Array;
}

/** The bytes of a GGUF file, version 3 with the alignment 32. */
export function ggufBytes(metadata: Readonly<Record<string, TypedValue>>, tensors: readonly GgufTensorInit[]): Buffer {
  const parts: Buffer[] = [Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(Object.keys(metadata).length)];
  for (const [key, value] of Object.entries(metadata)) parts.push(text(key), typed(value));
  let offset = 0;
  for (const { name, shape, dtype = "f32" } of tensors) {
    const extents = [...shape].reverse().map(u64);
    parts.push(text(name), u32(shape.length), ...extents, u32(dtypes[dtype].id), u64(offset));
    offset += alignUp(tensorBytes(dtype, shape), 32);
  }
  const header = padded(Buffer.concat(parts));
  const data = tensors.map(({ shape, dtype = "f32", bytes }) => {
    return padded(Buffer.from(bytes ?? Buffer.alloc(tensorBytes(dtype, shape))));
  });
  return Buffer.concat([header, ...data]);
}

function typed(value: TypedValue): Buffer {
  if ("u32" in value) return Buffer.concat([u32(4), u32(value.u32)]);
  if ("f32" in value) return Buffer.concat([u32(6), f32(value.f32)]);
  if ("bool" in value) return Buffer.concat([u32(7), Buffer.of(value.bool ? 1 : 0)]);
  if ("text" in value) return Buffer.concat([u32(8), text(value.text)]);
  if ("texts" in value) return list(8, value.texts.map(text));
  if ("i32s" in value) return list(5, value.i32s.map(u32));
  return list(6, value.f32s.map(f32));
}

function list(itemType: number, items: readonly Buffer[]): Buffer {
  return Buffer.concat([u32(9), u32(itemType), u64(items.length), ...items]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function f32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(alignUp(bytes.length, 32) - bytes.length)]);
}
