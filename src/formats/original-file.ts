import { createHash } from "node:crypto";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { InvalidFile, tensorBytes } from "../core/index.js";
import { type ByteSource, FileSource } from "./byte-source.js";
import type { Checkpoint } from "./checkpoint.js";
import type { OriginalFile } from "./delta-manifest.js";
import type { DeltaTensor } from "./delta-tensor.js";
import { readSafetensorsHeader } from "./safetensors.js";
import { encodeSafetensorsHeader } from "./safetensors-writer.js";
import { listsShards } from "./weight-files.js";

const READ_BYTES = 1 << 22;

/**
 * What it takes to write a checkpoint's weight file again from its parameters; undefined where they are not in one
 * safetensors file, or it holds more than them. Reads the file once.
 */
export async function readOriginalFile(checkpoint: Checkpoint): Promise<OriginalFile | undefined> {
  if (checkpoint.path.endsWith(".gguf") || (await listsShards(checkpoint.path))) return undefined;
  await using source = await FileSource.open(join(checkpoint.path, "model.safetensors"));
  const { entries } = await readSafetensorsHeader(source);
  const isSame =
    entries.size === checkpoint.tensors.size && [...entries.keys()].every((n) => checkpoint.tensors.has(n));
  if (!isSame) return undefined;
  const dataStart = Math.min(source.size, ...[...entries.values()].map(({ offset }) => offset));
  const bytes = new Uint8Array(dataStart - 8);
  await source.read(8, bytes);
  const header = new TextDecoder().decode(bytes);
  // Text that decoding changed, such as one with a byte order mark, would not give the file again.
  if (!Buffer.from(header).equals(bytes)) return undefined;
  return { sha256: await hashOf(source), header };
}

/**
 * The tensors of a delta in the order in which their bytes follow the original file's header.
 *
 * @throws {InvalidFile} if the header does not list exactly these, with these dtypes and shapes
 */
export async function inOriginalOrder(
  path: string,
  { header }: OriginalFile,
  tensors: ReadonlyMap<string, DeltaTensor>,
): Promise<readonly DeltaTensor[]> {
  const head = encodeSafetensorsHeader(header);
  const dataBytes = [...tensors.values()].reduce((sum, { dtype, shape }) => sum + tensorBytes(dtype, shape), 0);
  const source: ByteSource = {
    path,
    size: head.length + dataBytes,
    read: async (offset, into) => into.set(head.subarray(offset, offset + into.length)),
  };
  const { entries } = await readSafetensorsHeader(source);
  const ordered = [...entries.values()].map((entry) => {
    const tensor = tensors.get(entry.name);
    if (tensor && entry.dtype === tensor.dtype.toUpperCase() && isDeepStrictEqual(entry.shape, tensor.shape))
      return tensor;
    throw new InvalidFile(path, `its original file has a tensor "${entry.name}" that it does not restore`);
  });
  if (ordered.length !== tensors.size) throw new InvalidFile(path, "its original file has not all of its tensors");
  return ordered;
}

async function hashOf(source: FileSource): Promise<string> {
  const hash = createHash("sha256");
  const buffer = new Uint8Array(Math.min(READ_BYTES, source.size));
  for (let offset = 0; offset < source.size; offset += READ_BYTES) {
    const part = buffer.subarray(0, Math.min(READ_BYTES, source.size - offset));
    await source.read(offset, part);
    hash.update(part);
  }
  return hash.digest("hex");
}
