// Fine-tunes at random: put into pools by hand, and as whole weights for the reference decoder.

import { type DType, dtypes, type ModelConfig, parametersOf } from "../core/index.js";
import { fromFloat32, toFloat32 } from "../ggml/index.js";
import type { DeltaPools } from "../model/index.js";
import { alignUp, uniformAt } from "../util/index.js";
import type { ResidentVariant } from "./batch.js";
import type { WeightTable } from "./random-model.test.kit.js";

export interface RandomVariant {
  readonly seed: number;
  readonly dtype: DType;
  readonly planes: number;
  /** Words beyond the base's. */
  readonly extraRows: number;
}

const noise = (count: number, seed: number, size: number) =>
  Float32Array.from({ length: count }, (_, at) => size * (2 * uniformAt(seed, at) - 1));

/** One matrix's planes as stored, each row filled up to whole blocks, and the sum of what they decode to. */
function planesOf({ seed, dtype, planes }: RandomVariant, index: number, rows: number, columns: number) {
  const padded = alignUp(columns, dtypes[dtype].blockSize);
  const rest = new Float32Array(rows * padded);
  const wanted = noise(rows * columns, seed * 1000 + index, 0.5 / Math.sqrt(columns));
  const difference = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) rest.set(wanted.subarray(row * columns, (row + 1) * columns), row * padded);
  const stored = Array.from({ length: planes }, (_, plane) => {
    // All but the last leave something, whatever the dtype can hold.
    const share = plane === planes - 1 ? 1 : 0.6;
    const bytes = fromFloat32(
      dtype,
      rest.map((value) => share * value),
      padded,
    );
    const decoded = toFloat32(dtype, bytes, rest.length);
    for (let at = 0; at < rest.length; at++) {
      const [row, column] = [Math.floor(at / padded), at % padded];
      if (column < columns) difference[row * columns + column]! += decoded[at]!;
      rest[at]! -= decoded[at]!;
    }
    return bytes;
  });
  return { stored, difference };
}

const vectorOf = ({ seed }: RandomVariant, index: number, base: Float32Array) => {
  const change = noise(base.length, seed * 1000 + index, 0.2);
  return base.map((value, at) => value + change[at]!);
};
const extraOf = ({ seed, extraRows }: RandomVariant, index: number, columns: number) =>
  noise(extraRows * columns, seed * 1000 + 500 + index, 1);

/** Writes the variant into the slots and rows that `place` names. */
export function fillPools(
  pools: DeltaPools,
  config: ModelConfig,
  base: WeightTable,
  variant: RandomVariant,
  place: ResidentVariant,
): void {
  for (const [index, { name, kind, shape }] of parametersOf(config).entries()) {
    if (kind === "vector") {
      const values = vectorOf(variant, index, base.get(name)!);
      pools.vector(name).write(values, (1 + place.index) * values.byteLength);
      continue;
    }
    const [rows, columns] = shape as [number, number];
    for (const [plane, bytes] of planesOf(variant, index, rows, columns).stored.entries()) {
      pools.matrix(name, variant.dtype)!.write(bytes, place.slots.get(variant.dtype)![plane]! * bytes.byteLength);
    }
    const extra = extraOf(variant, index, columns);
    const room = pools.layout.extraRows * columns * 4;
    if (kind !== "linear") pools.extraRows(name)?.write(extra, place.index * room);
  }
}

/** The fine-tune as a model of its own. */
export function tunedModel(
  config: ModelConfig,
  base: WeightTable,
  variant: RandomVariant,
): { config: ModelConfig; weights: WeightTable } {
  const weights = parametersOf(config).map(({ name, kind, shape }, index): [string, Float32Array] => {
    const own = base.get(name)!;
    if (kind === "vector") return [name, vectorOf(variant, index, own)];
    const [rows, columns] = shape as [number, number];
    const { difference } = planesOf(variant, index, rows, columns);
    const sum = Array.from(own, (value, at) => value + difference[at]!);
    return [name, Float32Array.from(kind === "linear" ? sum : [...sum, ...extraOf(variant, index, columns)])];
  });
  return { config: { ...config, vocabSize: config.vocabSize + variant.extraRows }, weights: new Map(weights) };
}
