import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { InvalidFile, KindredError, parametersOf, tensorBytes } from "../core/index.js";
import {
  type Checkpoint,
  checkBase,
  type DeltaArtifact,
  type DeltaTensor,
  encodeSafetensorsHeader,
  type FloatDType,
  inOriginalOrder,
  type OriginalFile,
  planeShape,
  printJson,
  printText,
  type SafetensorsDType,
  type TensorToWrite,
  writeFolder,
  writeSafetensors,
} from "../formats/index.js";
import { readValues } from "../model/index.js";
import { assert } from "../util/index.js";
import { readBlob } from "./blob.js";
import { addEncoded, readEncoded } from "./decoded.js";
import { storeAs } from "./exact-reference.js";
import { ExactRestoration } from "./exact-restoration.js";
import { type Progress, ProgressMeter } from "./progress-meter.js";

/** What {@link restoreCheckpoint} restores, and where. */
export interface RestoreOptions {
  readonly base: Checkpoint;
  readonly delta: DeltaArtifact;
  /** The folder to be made. */
  readonly out: string;
  /** Restore the fine-tune bit for bit, rather than what is served of it. Default: only where nothing else is stored. */
  readonly exact?: boolean;
  /** Threads that decode exact layers. Default: one a core. */
  readonly threads?: number;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/**
 * What was restored: the variant as it is served; or each tensor of the fine-tune, bit for bit; or these in the very file
 * that they came from. All that is said to be the same has been held against its SHA-256.
 */
export type Restored = "approximation" | "tensors" | "file";

/** An artifact whose fine-tune was to come back bit for bit, though it was compressed without that. */
export class NotExact extends KindredError {
  constructor({ name, path }: DeltaArtifact) {
    super(
      "not_exact",
      422,
      `Cannot restore ${name} bit for bit: it was compressed without exact layers; compress it again with --exact`,
      { details: { path } },
    );
  }
}

const storedAs: Readonly<Record<FloatDType, SafetensorsDType>> = { f32: "F32", f16: "F16", bf16: "BF16" };

/**
 * Writes the variant that a delta describes as a Hugging Face folder, in the dtypes of the fine-tune that was
 * compressed. Memory holds one tensor, or what {@link ExactRestoration} says.
 *
 * @throws {BaseMismatch} if the delta was made against another base
 * @throws {NotExact} if it has not what it takes to be restored bit for bit
 * @throws {InvalidFile} if a blob of the delta is damaged, or something does not come out as it was
 * @throws {AlreadyExists} if there is something at `out`
 * @throws the signal's reason when it is aborted; nothing stays at `out` then, as after any other failure
 */
export async function restoreCheckpoint(options: RestoreOptions): Promise<Restored> {
  const { delta, out, signal = new AbortController().signal } = options;
  const base = await checkBase(delta, options.base);
  // Without a head that is there for the base's sake only, while the fine-tune's is its embedding.
  const own = new Map(parametersOf(delta.config).map(({ name }) => [name, delta.tensors.get(name)!]));
  const all = [...own.values()];
  const exact = options.exact === true || all.some(({ kind }) => kind === "exact");
  if (exact && !all.every((tensor) => tensor.kind === "absolute" || tensor.exact)) throw new NotExact(delta);
  const original = exact ? delta.original : undefined;
  const tensors = original ? await inOriginalOrder(delta.path, original, own) : all;
  const sizes = tensors.map(({ name, dtype, shape }) => ({ name, byteLength: tensorBytes(dtype, shape) }));
  const progress = new ProgressMeter(sizes, options.onProgress);

  await writeFolder(out, async (folder) => {
    const threads = exact ? (options.threads ?? availableParallelism()) : 0;
    await using restoration = new ExactRestoration({ base, delta, tensors, threads, signal });
    const weights = tensors.map((tensor, index) => ({
      name: tensor.name,
      dtype: storedAs[tensor.dtype],
      shape: tensor.shape,
      bytes: async () => {
        signal.throwIfAborted();
        const bytes = exact ? await restoration.take(index) : await approximate(base, delta, tensor);
        progress.finished(tensor.name);
        return bytes;
      },
    }));
    const path = join(folder, "model.safetensors");
    if (original) await writeOriginal(path, delta, original, weights);
    else await writeSafetensors(path, weights, { metadata: { format: "pt" } });
    await writeFile(join(folder, "config.json"), printJson(delta.configJson));
    for (const [name, content] of printText({ ...base.text, ...delta.text }))
      await writeFile(join(folder, name), content);
  });
  return original ? "file" : exact ? "tensors" : "approximation";
}

/** Writes the very file that was compressed, and holds it against its checksum. */
async function writeOriginal(
  path: string,
  delta: DeltaArtifact,
  { header, sha256 }: OriginalFile,
  weights: readonly (TensorToWrite & { readonly bytes: () => Promise<Uint8Array> })[],
): Promise<void> {
  const hash = createHash("sha256").update(encodeSafetensorsHeader(header));
  const hashed = weights.map((tensor) => ({
    ...tensor,
    bytes: async () => {
      const bytes = await tensor.bytes();
      hash.update(bytes);
      return bytes;
    },
  }));
  await writeSafetensors(path, hashed, { header });
  if (hash.digest("hex") === sha256) return;
  throw new InvalidFile(delta.path, "its tensors under its header are not the model.safetensors that was compressed");
}

/** A variant's tensor as it is served, in its own dtype. */
async function approximate(base: Checkpoint, delta: DeltaArtifact, tensor: DeltaTensor): Promise<Uint8Array> {
  assert(tensor.kind !== "exact", `${tensor.name} has nothing to be served`);
  if (tensor.kind === "absolute") return readBlob(delta, tensor.value);
  const values = await readValues(base, tensor.name);
  if (tensor.kind === "planes") {
    addEncoded(values, await readEncoded(tensor, (blob) => readBlob(delta, blob)), planeShape(tensor));
  }
  const restored = storeAs(tensor.dtype, values);
  if (!tensor.extraRows) return restored;
  return Buffer.concat([restored, await readBlob(delta, tensor.extraRows.blob)]);
}
