import { availableParallelism } from "node:os";
import {
  blobOfExact,
  blobOfExtraRows,
  blobOfValue,
  type Checkpoint,
  type DeltaBlob,
  type DeltaTensor,
  type ExactLayer,
  storePlane,
} from "../formats/index.js";
import { assert, sha256 } from "../util/index.js";
import type { Plane } from "./codec.js";
import { CannotCompress } from "./compatibility.js";
import { asMatrix, isFloatDType } from "./exact-reference.js";
import { ExactThread } from "./exact-thread.js";
import type { Workspace } from "./workspace.js";

/** What {@link finishTensors} works on. */
export interface Finishing {
  readonly base: Checkpoint;
  readonly tuned: Checkpoint;
  /** Has the blobs of all tensors as they are resident, and has them as they are to be stored when all is done. */
  readonly workspace: Workspace;
  /** Whether to add what restores the fine-tune bit for bit. */
  readonly exact: boolean;
  /** Whether exact layers are all that matrices change by. */
  readonly withoutPlanes: boolean;
  /** Default: one a core. */
  readonly threads?: number | undefined;
  readonly signal: AbortSignal;
}

/**
 * Turns compressed tensors into what is stored of them: planes are coded where it pays, exact layers added where they are wanted.
 * Memory holds a tensor of each checkpoint for every thread.
 *
 * @throws {CannotCompress} if an exact layer is wanted of a tensor that is in blocks on either side
 * @throws the signal's reason when it is aborted
 */
export async function finishTensors(
  tensors: ReadonlyMap<string, DeltaTensor>,
  finishing: Finishing,
): Promise<ReadonlyMap<string, DeltaTensor>> {
  const { threads = availableParallelism(), exact, signal } = finishing;
  const finished = new Map<string, DeltaTensor>();
  const waiting = tensors.values();
  const failure = new AbortController();
  const stop = AbortSignal.any([signal, failure.signal]);
  const lanes = Array.from({ length: threads }, async () => {
    await using thread = exact ? new ExactThread() : null;
    for (const tensor of waiting) {
      stop.throwIfAborted();
      finished.set(tensor.name, await finish(tensor, { ...finishing, signal: stop }, thread));
    }
  });
  // All lanes have come to rest before this returns or throws: none writes to the workspace any more.
  await Promise.allSettled(lanes.map((lane) => lane.catch((error: unknown) => failure.abort(error))));
  stop.throwIfAborted();
  return new Map([...tensors.keys()].map((name) => [name, finished.get(name)!]));
}

async function finish(tensor: DeltaTensor, finishing: Finishing, thread: ExactThread | null): Promise<DeltaTensor> {
  const { workspace } = finishing;
  if (tensor.kind !== "planes") return thread ? makeExact(tensor, [], finishing, thread) : tensor;
  const { name, planeDType } = tensor;
  const shape = asMatrix([tensor.shape[0]! - (tensor.extraRows?.count ?? 0), tensor.shape[1]!]);
  const resident: Plane[] = [];
  const blobs: DeltaBlob[] = [];
  for (const [index, plain] of tensor.planes.entries()) {
    const bytes = await workspace.get(plain.name);
    const { blob, stored } = storePlane(name, index, planeDType, shape, bytes);
    if (blob.code) await workspace.put(blob.name, stored);
    blobs.push(blob);
    resident.push({ dtype: planeDType, bytes });
  }
  const coded = { ...tensor, planes: blobs };
  return thread ? makeExact(coded, resident, finishing, thread) : coded;
}

/** Adds to a tensor what restores it bit for bit. The memory of `planes` is used up. */
async function makeExact(
  tensor: DeltaTensor,
  planes: readonly Plane[],
  { base, tuned, workspace, withoutPlanes, signal }: Finishing,
  thread: ExactThread,
): Promise<DeltaTensor> {
  const { name } = tensor;
  const before = base.tensors.get(name);
  const after = tuned.tensors.get(name);
  assert(before && after, `${name} is not in both checkpoints, which were found compatible`);
  const [dtype, baseDType] = [after.dtype, before.dtype];
  if (!isFloatDType(dtype) || !isFloatDType(baseDType)) {
    const [whose, which] = isFloatDType(dtype) ? ["base", baseDType] : ["fine-tune", dtype];
    const problem = `the ${whose} stores "${name}" in ${which}; exact layers need f32, f16 or bf16 on both sides`;
    throw new CannotCompress(tuned, base, problem, { tensor: name });
  }
  const bytes = new Uint8Array(after.byteLength);
  await tuned.read(name, bytes);
  // What is stored whole is stored bit for bit: which NaN it is counts here.
  if (tensor.kind === "absolute") {
    const value = blobOfValue(name, dtype, after.shape, sha256(bytes));
    await workspace.put(value.name, bytes);
    return { ...tensor, value };
  }
  const shape = asMatrix(before.shape);
  const coveredBytes = (bytes.length / (after.shape[0]! * (after.shape[1] ?? 1))) * shape.rows * shape.cols;
  const checksum = sha256(bytes);
  const { extraRows } = tensor;
  let whole = tensor;
  if (extraRows) {
    const rows = bytes.slice(coveredBytes);
    const blob = blobOfExtraRows(name, dtype, { rows: extraRows.count, cols: shape.cols }, sha256(rows));
    await workspace.put(blob.name, rows);
    whole = { ...tensor, extraRows: { ...extraRows, blob } };
  }
  const stored = new Uint8Array(before.byteLength);
  await base.read(name, stored);
  const reference = { dtype, baseDType, base: stored, planes, shape };
  const { code } = await thread.encode(reference, bytes.slice(0, coveredBytes), signal);
  const blob = code && blobOfExact(name, code.length, sha256(code));
  if (blob) await workspace.put(blob.name, code);
  const layer: ExactLayer = { sha256: checksum, blob };
  if (whole.kind === "unchanged" && blob && withoutPlanes) return { ...whole, kind: "exact", exact: layer };
  return { ...whole, exact: layer };
}
