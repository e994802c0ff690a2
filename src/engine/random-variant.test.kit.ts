// Fine-tunes at random: as something to load into pools, and as whole weights for the reference decoder.

import {
  type DType,
  dtypes,
  elementCount,
  embeddingName,
  type ModelConfig,
  ownHeadName,
  type Parameter,
  parametersOf,
} from "../core/index.js";
import type { DeltaBlob, DeltaTensor, FactorDType, PlaneDType, VariantSource } from "../formats/index.js";
import { fromFloat32, toFloat32 } from "../ggml/index.js";
import { alignUp, uniformAt } from "../util/index.js";
import type { WeightTable } from "./random-model.test.kit.js";
import { VariantForms } from "./variant-forms.js";
import { describeVariant, type RegisteredVariant } from "./variants.js";

export interface RandomVariant {
  readonly seed: number;
  /** Of its planes. */
  readonly dtype: DType;
  readonly planes: number;
  /** Low-rank parts of every matrix but those whose name has `without` in it. */
  readonly factors?: readonly { readonly dtype: DType; readonly rank: number; readonly without?: string }[];
  /** Words beyond the base's; of the base's fewer where negative. */
  readonly extraRows: number;
  /** It has an output head of its own, whatever the base has. */
  readonly untied?: boolean;
}

/** The variant's blueprint. */
const configOf = (base: ModelConfig, { extraRows, untied = false }: RandomVariant): ModelConfig => ({
  ...base,
  vocabSize: base.vocabSize + extraRows,
  tiedEmbeddings: base.tiedEmbeddings && !untied,
});

/** The parameters of the base that a variant has, as far as it has them: fewer words where it has fewer. */
function commonParameters(base: ModelConfig, variant: RandomVariant): Parameter[] {
  const { vocabSize, tiedEmbeddings } = configOf(base, variant);
  return parametersOf({ ...base, vocabSize: Math.min(vocabSize, base.vocabSize), tiedEmbeddings });
}

/** The base's values of one of these. */
function baseValues(base: WeightTable, { name, shape }: Parameter): Float32Array {
  const values = base.get(name) ?? base.get(name === ownHeadName ? embeddingName : name)!;
  return values.subarray(0, elementCount(shape));
}

const noise = (count: number, seed: number, size: number) =>
  Float32Array.from({ length: count }, (_, at) => size * (2 * uniformAt(seed, at) - 1));

/** Rows as stored, each filled up to whole blocks, and what they decode to without that. */
function stored(dtype: DType, values: Float32Array, rows: number, columns: number) {
  const length = alignUp(columns, dtypes[dtype].blockSize);
  const padded = new Float32Array(rows * length);
  for (let row = 0; row < rows; row++) padded.set(values.subarray(row * columns, (row + 1) * columns), row * length);
  const bytes = fromFloat32(dtype, padded, length);
  const all = toFloat32(dtype, bytes, padded.length);
  const decoded = Float32Array.from(values, (_, at) => all[Math.floor(at / columns) * length + (at % columns)]!);
  return { bytes, decoded };
}

/** The parts of one matrix by their blobs' endings, and the sum of what they stand for. */
function partsOf({ seed, dtype, planes, factors = [] }: RandomVariant, index: number, { name, shape }: Parameter) {
  const [rows, columns] = shape as [number, number];
  const rest = noise(rows * columns, seed * 1000 + index, 0.5 / Math.sqrt(columns));
  const difference = new Float32Array(rows * columns);
  const blobs = new Map<string, Uint8Array>();
  for (let plane = 0; plane < planes; plane++) {
    // All but the last leave something, whatever the dtype can hold.
    const share = plane === planes - 1 ? 1 : 0.6;
    const { bytes, decoded } = stored(
      dtype,
      rest.map((value) => share * value),
      rows,
      columns,
    );
    blobs.set(`plane${plane + 1}`, bytes);
    for (let at = 0; at < rest.length; at++) {
      difference[at]! += decoded[at]!;
      rest[at]! -= decoded[at]!;
    }
  }
  const own = factors.filter(({ without }) => without === undefined || !name.includes(without));
  for (const [pair, { dtype: form, rank }] of own.entries()) {
    const down = stored(form, noise(rank * columns, seed * 7000 + index, 1 / Math.sqrt(columns)), rank, columns);
    const up = stored(form, noise(rows * rank, seed * 9000 + index, 0.7 / Math.sqrt(rank)), rows, rank);
    blobs.set(`factors${pair + 1}.down`, down.bytes);
    blobs.set(`factors${pair + 1}.up`, up.bytes);
    for (let row = 0; row < rows; row++) {
      for (let k = 0; k < rank; k++) {
        const weight = up.decoded[row * rank + k]!;
        for (let i = 0; i < columns; i++) difference[row * columns + i]! += weight * down.decoded[k * columns + i]!;
      }
    }
  }
  return { blobs, factors: own, difference };
}

const vectorOf = ({ seed }: RandomVariant, index: number, base: Float32Array) => {
  const change = noise(base.length, seed * 1000 + index, 0.2);
  return base.map((value, at) => value + change[at]!);
};
const extraOf = ({ seed, extraRows }: RandomVariant, index: number, columns: number) =>
  noise(Math.max(0, extraRows) * columns, seed * 1000 + 500 + index, 1);
const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) => new Uint8Array(buffer, byteOffset, byteLength);

/** The variant as an engine would have it from a file. Its dtypes may be others than files have. */
export function registered(config: ModelConfig, base: WeightTable, variant: RandomVariant): RegisteredVariant {
  const bytes = new Map<string, Uint8Array>();
  const tensors = new Map(
    commonParameters(config, variant).map((parameter, index): [string, DeltaTensor] => {
      const { name, kind, shape } = parameter;
      const keep = (ending: string, content: Uint8Array): DeltaBlob => {
        bytes.set(`${name}.${ending}`, content);
        return { name: `${name}.${ending}`, byteLength: content.length, sha256: null };
      };
      if (kind === "vector") {
        const value = keep("value", bytesOf(vectorOf(variant, index, baseValues(base, parameter))));
        return [name, { name, kind: "absolute", dtype: "f32", shape, value }];
      }
      const { blobs, factors } = partsOf(variant, index, parameter);
      const part = (ending: string) => keep(ending, blobs.get(ending)!);
      const count = kind === "linear" ? 0 : Math.max(0, variant.extraRows);
      const extra = bytesOf(extraOf(variant, index, shape[1]!));
      const tensor: DeltaTensor = {
        name,
        kind: "planes",
        dtype: "f32",
        shape: [shape[0]! + count, shape[1]!],
        planeDType: variant.planes > 0 ? (variant.dtype as PlaneDType) : null,
        planes: Array.from({ length: variant.planes }, (_, plane) => part(`plane${plane + 1}`)),
        factors: factors.map(({ dtype, rank }, pair) => ({
          dtype: dtype as FactorDType,
          rank,
          down: part(`factors${pair + 1}.down`),
          up: part(`factors${pair + 1}.up`),
        })),
        extraRows: count > 0 ? { count, blob: keep("extra_rows", extra) } : null,
        norm: 1,
        error: 0,
      };
      return [name, tensor];
    }),
  );
  const all = Buffer.concat([...bytes.values()]);
  const offsets = new Map<string, number>();
  let end = 0;
  for (const [name, { length }] of bytes) {
    offsets.set(name, end);
    end += length;
  }
  const source: VariantSource = {
    name: `random ${variant.seed}`,
    path: "memory",
    config: configOf(config, variant),
    configJson: {},
    text: {},
    tensors,
    readBlob: async ({ name }, into) => into.set(bytes.get(name)!),
    file: { path: "memory", size: all.length, modifiedMs: 0 },
    locate: (blob) => ({
      ...blob,
      offset: offsets.get(blob.name)!,
      storedBytes: blob.byteLength,
      form: { kind: "plain" },
    }),
    [Symbol.asyncDispose]: async () => {},
  };
  const described = describeVariant(source.name, source, config, new VariantForms());
  const { tensors: parts, file } = described.contents;
  const memory = {
    ...file,
    read: async (offset: number, into: Uint8Array) => into.set(all.subarray(offset, offset + into.length)),
    [Symbol.asyncDispose]: async () => {},
  };
  const locate = (name: string) => described.contents.locate(name);
  return { ...described, contents: { tensors: parts, file, locate, reopen: async () => memory } };
}

/** The fine-tune as a model of its own. */
export function tunedModel(
  config: ModelConfig,
  base: WeightTable,
  variant: RandomVariant,
): { config: ModelConfig; weights: WeightTable } {
  const weights = commonParameters(config, variant).map((parameter, index): [string, Float32Array] => {
    const { name, kind, shape } = parameter;
    const own = baseValues(base, parameter);
    if (kind === "vector") return [name, vectorOf(variant, index, own)];
    const { difference } = partsOf(variant, index, parameter);
    const extra = kind === "linear" ? [] : extraOf(variant, index, shape[1]!);
    return [name, Float32Array.from([...own.map((value, at) => value + difference[at]!), ...extra])];
  });
  return { config: configOf(config, variant), weights: new Map(weights) };
}
