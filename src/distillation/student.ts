import type { PlaneDType } from "../formats/index.js";

/** One plane of a matrix, laid out as docs/delta-format.md draws it. */
export interface StudentPlane {
  readonly dtype: PlaneDType;
  readonly bytes: Uint8Array;
}

/** A variant in the making, as the difference from its base. */
export interface Student {
  /** By parameter name, the planes that are added to the base's matrix, over the base's rows; one that is missing is the base's. */
  readonly matrices: ReadonlyMap<string, { readonly planes: readonly StudentPlane[] }>;
  /** By parameter name, whole norms and biases; one that is missing is the base's. */
  readonly vectors: ReadonlyMap<string, Float32Array>;
}
