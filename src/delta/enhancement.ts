import {
  blobOfExact,
  type Checkpoint,
  type DeltaBlob,
  type DeltaTensor,
  type MatrixShape,
  type StoredTensor,
} from "../formats/index.js";
import { assert, sha256 } from "../util/index.js";
import type { Plane } from "./codec.js";
import { CannotCompress } from "./compatibility.js";
import { asMatrix, isFloatDType } from "./exact-reference.js";
import type { ExactThread } from "./exact-thread.js";

/** What {@link enhance} makes a tensor exact with. */
export interface Enhancement {
  readonly base: Checkpoint;
  readonly tuned: Checkpoint;
  /** Resident bytes of the tensor's planes; their memory is used up. */
  readonly planes: readonly Plane[];
  /** Where there are no planes, the exact layer is what the tensor changes by. */
  readonly withoutPlanes: boolean;
  readonly thread: ExactThread;
  /** Stores the layer's bytes. */
  readonly keep: (code: Uint8Array, describe: (sha256: string) => DeltaBlob) => Promise<DeltaBlob>;
  readonly signal: AbortSignal;
}

/**
 * Adds to a compressed tensor what restores it bit for bit.
 *
 * @throws {CannotCompress} if base or fine-tune store it in blocks, which have no exact difference
 */
export async function enhance(tensor: DeltaTensor, enhancement: Enhancement): Promise<DeltaTensor> {
  // These are the fine-tune's bytes already.
  if (tensor.kind === "absolute") return tensor;
  const { base, tuned, planes, withoutPlanes, thread, keep, signal } = enhancement;
  const { name } = tensor;
  const after = await readTensor(tuned, name);
  const before = await readTensor(base, name);
  const [dtype, baseDType] = [after.stored.dtype, before.stored.dtype];
  if (!isFloatDType(dtype) || !isFloatDType(baseDType)) {
    const [whose, which] = isFloatDType(dtype) ? ["base", baseDType] : ["fine-tune", dtype];
    const problem = `the ${whose} stores "${name}" in ${which}; exact layers need f32, f16 or bf16 on both sides`;
    throw new CannotCompress(tuned, base, problem, { tensor: name });
  }
  const checksum = sha256(after.bytes);
  const shape: MatrixShape = asMatrix(before.stored.shape);
  // Extra rows are stored whole; the copy has memory of its own to move.
  const covered = after.bytes.slice(0, (after.bytes.length / after.elements) * shape.rows * shape.cols);
  const reference = { dtype, baseDType, base: before.bytes, planes, shape };
  const { code } = await thread.encode(reference, covered, signal);
  const blob = code && (await keep(code, (digest) => blobOfExact(name, code.length, digest)));
  const exact = { sha256: checksum, blob };
  if (tensor.kind === "unchanged" && blob && withoutPlanes) return { ...tensor, kind: "exact", exact };
  return { ...tensor, exact };
}

async function readTensor(
  checkpoint: Checkpoint,
  name: string,
): Promise<{ readonly stored: StoredTensor; readonly bytes: Uint8Array; readonly elements: number }> {
  const stored = checkpoint.tensors.get(name);
  assert(stored, `${checkpoint.path} was opened without "${name}"`);
  const bytes = new Uint8Array(stored.byteLength);
  await checkpoint.read(name, bytes);
  return { stored, bytes, elements: stored.shape.reduce((product, extent) => product * extent, 1) };
}
