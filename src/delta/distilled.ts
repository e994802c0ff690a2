import { parametersOf } from "../core/index.js";
import {
  type DistillProgress,
  distill,
  type Student,
  type StudentPlane,
  type TrainingSample,
} from "../distillation/index.js";
import type { Checkpoint, DeltaTensor } from "../formats/index.js";
import { toFloat32 } from "../ggml/index.js";
import { CannotCompress } from "./compatibility.js";
import type { Compression } from "./compression.js";
import type { Workspace } from "./workspace.js";

/** How a compressed fine-tune is trained on. */
export interface DistillationOptions {
  readonly steps: number;
  /** On what text, and from which position on the fine-tune's word counts. */
  readonly samples: readonly TrainingSample[];
  readonly onProgress?: (progress: DistillProgress) => void;
}

/**
 * Trains the scales of a compressed fine-tune's planes, and its norms and biases, against the fine-tune. Codes stay.
 *
 * @returns the tensors as they are then, by name in slot order; their bytes are in the workspace
 * @throws {CannotCompress} if a matrix has factors, which are not trained
 * @throws {CannotDistill} if the samples do not fit the model
 */
export async function distillTensors(
  tensors: ReadonlyMap<string, DeltaTensor>,
  work: { base: Checkpoint; tuned: Checkpoint; compression: Compression; workspace: Workspace; threads: number },
  options: DistillationOptions,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, DeltaTensor>> {
  const { base, tuned, compression, threads } = work;
  const { student } = await distill({
    base,
    tuned,
    student: await studentOf(tensors, work),
    steps: options.steps,
    samples: options.samples,
    threads,
    seed: 0,
    signal,
    ...(options.onProgress && { onProgress: options.onProgress }),
  });
  const distilled = new Map<string, DeltaTensor>();
  for (const { name } of parametersOf(tuned.config)) {
    const tensor = tensors.get(name)!;
    const planes = student.matrices.get(name)?.planes;
    const vector = student.vectors.get(name);
    if (tensor.kind === "planes" && planes) distilled.set(name, await compression.withPlanes(tensor, planes));
    else if (vector) distilled.set(name, await compression.withVector(tensor, vector));
    else distilled.set(name, tensor);
  }
  return distilled;
}

async function studentOf(
  tensors: ReadonlyMap<string, DeltaTensor>,
  { base, tuned, workspace }: { base: Checkpoint; tuned: Checkpoint; workspace: Workspace },
): Promise<Student> {
  const matrices = new Map<string, { planes: readonly StudentPlane[] }>();
  const vectors = new Map<string, Float32Array>();
  for (const tensor of tensors.values()) {
    if (tensor.kind === "absolute") {
      vectors.set(tensor.name, toFloat32(tensor.dtype, await workspace.get(tensor.value.name), tensor.shape[0]!));
    } else if (tensor.kind === "planes") {
      const { name, planeDType: dtype } = tensor;
      if (!dtype || tensor.factors.length > 0) {
        const problem = `tensor "${name}" has low-rank factors, which distillation does not train`;
        throw new CannotCompress(tuned, base, problem, { tensor: name });
      }
      const planes = tensor.planes.map(async (blob) => ({ dtype, bytes: await workspace.get(blob.name) }));
      matrices.set(name, { planes: await Promise.all(planes) });
    }
  }
  return { matrices, vectors };
}
