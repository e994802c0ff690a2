import { open, rename, rm } from "node:fs/promises";
import { alignUp, assert } from "../util/index.js";
import { type SafetensorsDType, safetensorsElementBytes } from "./safetensors.js";

/** A tensor to be written: its bytes, or how to make them when its turn comes. */
export interface TensorToWrite {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  /** Row-major. */
  readonly shape: readonly number[];
  /** As many bytes as dtype and shape ask for. The function is called once, in order, and its result let go at once. */
  readonly bytes: Uint8Array | (() => Uint8Array | Promise<Uint8Array>);
}

/** What {@link writeSafetensors} may be told beside the tensors. */
export interface WriteSafetensorsOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  /** The data begins on a multiple of this many bytes; the header is padded with spaces. Default 64. */
  readonly alignment?: number;
  /** Written as it stands in place of the header that these tensors have, whose order must be its own. */
  readonly header?: string;
}

/**
 * Writes a safetensors file with the tensors in the given order, holding one of them in memory at a time. It is
 * written under a temporary name beside `path` and renamed once complete, so that `path` never holds half a file.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  options: WriteSafetensorsOptions = {},
): Promise<void> {
  const partial = `${path}.${process.pid}.partial`;
  try {
    await writeTo(partial, tensors, options);
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

async function writeTo(
  path: string,
  tensors: readonly TensorToWrite[],
  { metadata, alignment = 64, header }: WriteSafetensorsOptions,
): Promise<void> {
  const handle = await open(path, "w");
  try {
    await handle.writeFile(
      header === undefined ? encodeHeader(tensors, metadata, alignment) : encodeSafetensorsHeader(header),
    );
    for (const tensor of tensors) {
      const bytes = typeof tensor.bytes === "function" ? await tensor.bytes() : tensor.bytes;
      const expected = tensorBytes(tensor);
      assert(
        bytes.length === expected,
        `Tensor "${tensor.name}" gave ${bytes.length} bytes, its shape takes ${expected}`,
      );
      await handle.writeFile(bytes);
    }
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

/** A header's text as it stands at the beginning of a file, its length before it. */
export function encodeSafetensorsHeader(header: string): Uint8Array {
  const json = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + json.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

function encodeHeader(
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> | undefined,
  alignment: number,
): Uint8Array {
  const fields: [string, unknown][] = metadata ? [["__metadata__", metadata]] : [];
  let end = 0;
  for (const tensor of tensors) {
    const begin = end;
    end += tensorBytes(tensor);
    fields.push([tensor.name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, end] }]);
  }
  const header = Object.fromEntries(fields);
  assert(Object.keys(header).length === fields.length, "Two tensors have the same name");
  const json = new TextEncoder().encode(JSON.stringify(header));

  const bytes = new Uint8Array(alignUp(8 + json.length, alignment)).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(bytes.length - 8), true);
  bytes.set(json, 8);
  return bytes;
}

function tensorBytes({ dtype, shape }: TensorToWrite): number {
  return shape.reduce((product, extent) => product * extent, safetensorsElementBytes[dtype]);
}
