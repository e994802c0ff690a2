import { availableParallelism } from "node:os";
import {
  type AbsoluteTensor,
  blobOfExact,
  blobOfExtraRows,
  blobOfValue,
  type Checkpoint,
  type DeltaBlob,
  type DeltaTensor,
  type ExactLayer,
  readTensor,
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
  /** Tensors that the fine-tune has by itself. Another is there to be served, and is not restored. */
  readonly own: ReadonlySet<string>;
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

async function finish(tensor: DeltaTensor, finishing: Finishing, lane: ExactThread | null): Promise<DeltaTensor> {
  const { workspace, own, withoutPlanes } = finishing;
  const thread = own.has(tensor.name) || withoutPlanes ? lane : null;
  if (tensor.kind !== "planes") return thread ? makeExact(tensor, [], finishing, thread) : tensor;
  const { name, planeDType } = tensor;
  const shape = asMatrix([tensor.shape[0]! - (tensor.extraRows?.count ?? 0), tensor.shape[1]!]);
  const resident: Plane[] = [];
  const blobs: DeltaBlob[] = [];
  for (const [index, plain] of tensor.planes.entries()) {
    assert(planeDType, `${name} has planes without a dtype`);
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
  finishing: Finishing,
  thread: ExactThread,
): Promise<DeltaTensor> {
  const { base, tuned, workspace, withoutPlanes, signal } = finishing;
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
  const bytes = await readTensor(tuned, name);
  if (tensor.kind === "absolute") return makeVectorExact(tensor, bytes, finishing, thread);
  const shape = asMatrix(before.shape);
  const coveredBytes = (bytes.length / (after.shape[0]! * (after.shape[1] ?? 1))) * shape.rows * shape.cols;
  const checksum = sha256(bytes);
  const { extraRows } = tensor;
  let whole = tensor;
  if (extraRows) {
    // What is stored whole is stored bit for bit: which NaN it is counts here.
    const rows = bytes.slice(coveredBytes);
    const blob = blobOfExtraRows(name, dtype, { rows: extraRows.count, cols: shape.cols }, sha256(rows));
    await workspace.put(blob.name, rows);
    whole = { ...tensor, extraRows: { ...extraRows, blob } };
  }
  const stored = await readTensor(base, name);
  const reference = { dtype, baseDType, base: stored, planes, shape };
  const { code } = await thread.encode(reference, bytes.slice(0, coveredBytes), signal);
  const layer = await keepLayer(name, checksum, code, workspace);
  if (whole.kind === "unchanged" && layer.blob && withoutPlanes) return { ...whole, kind: "exact", exact: layer };
  return { ...whole, exact: layer };
}

/** Adds what restores a vector, unless its values are the fine-tune's. The memory of `tuned` is used up. */
async function makeVectorExact(
  tensor: AbsoluteTensor,
  tuned: Uint8Array,
  { workspace, withoutPlanes, signal }: Finishing,
  thread: ExactThread,
): Promise<DeltaTensor> {
  const { name, dtype, shape } = tensor;
  const checksum = sha256(tuned);
  if (tensor.value.sha256 === checksum) return tensor;
  if (withoutPlanes) {
    // Numbers that are the same may have other bits: which NaN it is counts here.
    const value = blobOfValue(name, dtype, shape, checksum);
    await workspace.put(value.name, tuned);
    return { ...tensor, value };
  }
  const own = await workspace.get(tensor.value.name);
  const reference = { dtype, baseDType: dtype, base: own, planes: [], shape: asMatrix(shape) };
  const { code } = await thread.encode(reference, tuned, signal);
  return { ...tensor, exact: await keepLayer(name, checksum, code, workspace) };
}

async function keepLayer(
  name: string,
  checksum: string,
  code: Uint8Array | null,
  workspace: Workspace,
): Promise<ExactLayer> {
  if (!code) return { sha256: checksum, blob: null };
  const blob = blobOfExact(name, code.length, sha256(code));
  await workspace.put(blob.name, code);
  return { sha256: checksum, blob };
}
