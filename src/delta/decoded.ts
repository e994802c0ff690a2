import type { MatrixShape } from "../formats/index.js";
import type { EncodedTensor } from "./codec.js";
import { addFactors } from "./factors.js";
import { addPlane } from "./planes.js";

/** Adds what an encoded difference stands for to `into`, row-major `[rows, cols]`: its planes and its factors' products. */
export function addEncoded(into: Float32Array, { planes, factors = [] }: EncodedTensor, shape: MatrixShape): void {
  for (const { dtype, bytes } of planes) addPlane(into, dtype, bytes, shape);
  for (const pair of factors) addFactors(into, pair, shape);
}
