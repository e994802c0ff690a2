import type { DeltaBlob, MatrixShape, PlanesTensor } from "../formats/index.js";
import type { EncodedTensor } from "./codec.js";
import { addFactors } from "./factors.js";
import { addPlane } from "./planes.js";

/** Adds what an encoded difference stands for to `into`, row-major `[rows, cols]`: its planes and its factors' products. */
export function addEncoded(into: Float32Array, { planes, factors = [] }: EncodedTensor, shape: MatrixShape): void {
  for (const { dtype, bytes } of planes) addPlane(into, dtype, bytes, shape);
  for (const pair of factors) addFactors(into, pair, shape);
}

/** Collects an encoded difference from its blobs. */
export async function readEncoded(
  { planeDType, planes, factors }: PlanesTensor,
  read: (blob: DeltaBlob) => Promise<Uint8Array>,
): Promise<EncodedTensor> {
  return {
    planes: await Promise.all(planes.map(async (blob) => ({ dtype: planeDType!, bytes: await read(blob) }))),
    factors: await Promise.all(
      factors.map(async ({ dtype, rank, down, up }) => ({ dtype, rank, down: await read(down), up: await read(up) })),
    ),
  };
}
