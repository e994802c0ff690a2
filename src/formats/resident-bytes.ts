import { parametersOf, type SlotClass, slotMatrices, slotMatrixBytes } from "../core/index.js";
import { assert } from "../util/index.js";
import { deltaConfig } from "./delta-check.js";
import { baseShape, type DeltaTensor, type PlaneDType, type PlanesTensor } from "./delta-tensor.js";
import { slotPlanesOf } from "./slot-planes.js";
import type { VariantSource } from "./variant-source.js";

/** The classes of a matrix's parts as slots hold them, planes first, each once. */
export function slotClassesOf({ planeDType, planes, factors }: PlanesTensor): readonly SlotClass[] {
  return [
    ...(planeDType ? planeClassesOf(planeDType, planes.length) : []),
    ...factors.map(({ dtype, rank }) => ({ kind: "factors", dtype, rank }) as const),
  ];
}

function planeClassesOf(planeDType: PlaneDType, planes: number): SlotClass[] {
  const { dtype, count } = slotPlanesOf(planeDType);
  return Array.from({ length: count * planes }, (_, index) => ({ kind: "plane", dtype, plane: index + 1 }));
}

/**
 * Device memory that parameters of a variant take while it is resident: their planes and factors as slots hold them, and norms, biases and
 * extra vocabulary rows in single precision. More only where it has a class in common with variants that have it in other
 * matrices, for a slot goes through all matrices of its class.
 *
 * @param tensors some of its tensors, instead of all
 */
export function residentBytes(
  variant: Pick<VariantSource, "config" | "tensors">,
  tensors: Iterable<DeltaTensor> = variant.tensors.values(),
): number {
  const config = deltaConfig(variant.config, variant.tensors);
  const kinds = new Map(parametersOf(config).map(({ name, kind }) => [name, kind]));
  let bytes = 0;
  for (const tensor of tensors) {
    const kind = kinds.get(tensor.name);
    assert(kind, `${tensor.name} is no parameter of the variant`);
    if (kind === "vector") {
      bytes += 4 * tensor.shape[0]!;
      continue;
    }
    if (tensor.kind === "absolute") continue;
    bytes += 4 * (tensor.extraRows?.count ?? 0) * tensor.shape[1]!;
    if (tensor.kind !== "planes") continue;
    for (const slotClass of slotClassesOf(tensor)) {
      for (const matrix of slotMatrices(slotClass, { shape: baseShape(tensor), kind }, config)) {
        bytes += slotMatrixBytes(matrix);
      }
    }
  }
  return bytes;
}
