import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { elementCount, tensorBytes } from "../core/index.js";
import {
  type Checkpoint,
  checkBase,
  type DeltaArtifact,
  type DeltaBlob,
  type DeltaTensor,
  type FloatDType,
  planeShape,
  printJson,
  printText,
  type SafetensorsDType,
  writeFolder,
  writeSafetensors,
} from "../formats/index.js";
import { fromFloat32, toFloat32 } from "../ggml/index.js";
import { assert } from "../util/index.js";
import { addEncoded, readEncoded } from "./decoded.js";
import { type Progress, ProgressMeter } from "./progress-meter.js";

/** What {@link restoreCheckpoint} restores, and where. */
export interface RestoreOptions {
  readonly base: Checkpoint;
  readonly delta: DeltaArtifact;
  /** The folder to be made. */
  readonly out: string;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

const storedAs: Readonly<Record<FloatDType, SafetensorsDType>> = { f32: "F32", f16: "F16", bf16: "BF16" };

/**
 * Writes the variant that a delta describes as a Hugging Face folder, in the dtypes of the fine-tune that was
 * compressed. Memory holds one tensor.
 *
 * @throws {BaseMismatch} if the delta was made against another base
 * @throws {InvalidFile} if a blob of the delta is damaged
 * @throws {AlreadyExists} if there is something at `out`
 * @throws the signal's reason when it is aborted; nothing stays at `out` then, as after any other failure
 */
export async function restoreCheckpoint({ base, delta, out, onProgress, signal }: RestoreOptions): Promise<void> {
  await checkBase(delta, base);
  const tensors = [...delta.tensors.values()];
  const sizes = tensors.map(({ name, dtype, shape }) => ({ name, byteLength: tensorBytes(dtype, shape) }));
  const progress = new ProgressMeter(sizes, onProgress);
  await writeFolder(out, async (folder) => {
    const weights = tensors.map((tensor) => ({
      name: tensor.name,
      dtype: storedAs[tensor.dtype],
      shape: tensor.shape,
      bytes: async () => {
        signal?.throwIfAborted();
        const bytes = await restoreTensor(base, delta, tensor);
        progress.finished(tensor.name);
        return bytes;
      },
    }));
    await writeSafetensors(join(folder, "model.safetensors"), weights, { metadata: { format: "pt" } });
    await writeFile(join(folder, "config.json"), printJson(delta.configJson));
    for (const [name, content] of printText({ ...base.text, ...delta.text }))
      await writeFile(join(folder, name), content);
  });
}

/** A variant's tensor as stored bytes in its own dtype. */
async function restoreTensor(base: Checkpoint, delta: DeltaArtifact, tensor: DeltaTensor): Promise<Uint8Array> {
  if (tensor.kind === "absolute") return readBlob(delta, tensor.value);
  const stored = base.tensors.get(tensor.name);
  assert(stored, `${tensor.name} is not in ${base.path}, which checkBase has compared`);
  const bytes = new Uint8Array(stored.byteLength);
  await base.read(tensor.name, bytes);

  const values = toFloat32(stored.dtype, bytes, elementCount(stored.shape));
  if (tensor.kind === "planes") {
    addEncoded(values, await readEncoded(tensor, (blob) => readBlob(delta, blob)), planeShape(tensor));
  }
  const restored = fromFloat32(tensor.dtype, values, tensor.shape.at(-1)!);
  if (!tensor.extraRows) return restored;
  return Buffer.concat([restored, await readBlob(delta, tensor.extraRows.blob)]);
}

async function readBlob(delta: DeltaArtifact, blob: DeltaBlob): Promise<Uint8Array> {
  const bytes = new Uint8Array(blob.byteLength);
  await delta.readBlob(blob, bytes);
  return bytes;
}
