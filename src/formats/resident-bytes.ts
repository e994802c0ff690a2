import { type ModelConfig, parametersOf, type SlotClass, slotMatrices, slotMatrixBytes } from "../core/index.js";
import { baseShape, type DeltaTensor, type PlanesTensor } from "./delta-tensor.js";

/** The classes of a matrix's parts, planes first, each once. */
export function slotClassesOf({ planeDType, planes, factors }: PlanesTensor): readonly SlotClass[] {
  const ofPlanes = planeDType
    ? planes.map((_, index) => ({ kind: "plane", dtype: planeDType, plane: index + 1 }) as const)
    : [];
  return [...ofPlanes, ...factors.map(({ dtype, rank }) => ({ kind: "factors", dtype, rank }) as const)];
}

/**
 * Device memory that a variant takes while it is resident: its planes and factors as slots hold them, and its norms, biases and
 * extra vocabulary rows in single precision. More only where it has a class in common with variants that have it in other
 * matrices, for a slot goes through all matrices of its class.
 *
 * @param config the variant's
 */
export function residentBytes(config: ModelConfig, tensors: ReadonlyMap<string, DeltaTensor>): number {
  let bytes = 0;
  for (const { name, shape, kind } of parametersOf(config)) {
    if (kind === "vector") {
      bytes += 4 * shape[0]!;
      continue;
    }
    const tensor = tensors.get(name);
    if (!tensor || tensor.kind === "absolute") continue;
    bytes += 4 * (tensor.extraRows?.count ?? 0) * shape[1]!;
    if (tensor.kind !== "planes") continue;
    for (const slotClass of slotClassesOf(tensor)) {
      for (const matrix of slotMatrices(slotClass, { shape: baseShape(tensor), kind }, config)) {
        bytes += slotMatrixBytes(matrix);
      }
    }
  }
  return bytes;
}
