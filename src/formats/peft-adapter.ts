// A PEFT adapter is a folder:
//
//   adapter_config.json         rank, scale, and what the adapter does beyond low rank               (peft-config.ts)
//   adapter_model.safetensors   base_model.model.MODULE.lora_A.weight   [r, in]
//                               base_model.model.MODULE.lora_B.weight   [out, r]
//                               base_model.model.NAME                   a norm's own values (modules_to_save)
//   tokenizer.json, …           optional, as in a Hugging Face folder                                (text-assets.ts)
//
// A module's weight becomes W + scale · B·A. Here it is factors in half precision, `down` = A and `up` = scale · B, filled up with zeros to
// one rank for all modules: a power of two, so that adapters of many ranks share few classes of slots.

import { basename, join, resolve } from "node:path";
import { InvalidFile, type ModelConfig, type Parameter, parametersOf, tensorBytes } from "../core/index.js";
import { assert } from "../util/index.js";
import { FileSource, type FileStamp } from "./byte-source.js";
import type { Checkpoint } from "./checkpoint.js";
import { blobOfFactor, type DeltaBlob, type DeltaTensor, type FloatDType } from "./delta-tensor.js";
import { readJson } from "./json-file.js";
import { type PeftConfig, parsePeftConfig, UnsupportedAdapter } from "./peft-config.js";
import { readSafetensorsHeader, type SafetensorsEntry } from "./safetensors.js";
import { readStored, type StoredBlob, type StoredForm } from "./stored-blob.js";
import { readTextAssets } from "./text-assets.js";
import { differingText, type TextOverrides } from "./text-files.js";
import type { VariantSource } from "./variant-source.js";

/** The file by which an adapter is known. */
export const adapterConfigFile = "adapter_config.json";
const weightsFile = "adapter_model.safetensors";
const rankMin = 8;

/** A low-rank adapter as a variant. Disposing closes its file. */
export class PeftAdapter implements VariantSource {
  readonly name: string;
  readonly path: string;
  readonly config: ModelConfig;
  readonly configJson: Readonly<Record<string, unknown>>;
  readonly text: TextOverrides;
  readonly tensors: ReadonlyMap<string, DeltaTensor>;
  readonly #source: FileSource;
  readonly #blobs = new Map<string, StoredBlob>();

  private constructor(path: string, base: Checkpoint, text: TextOverrides, config: PeftConfig, file: WeightsFile) {
    this.name = basename(resolve(path));
    this.path = path;
    this.config = base.config;
    this.configJson = base.configJson;
    this.text = text;
    this.#source = file.source;
    this.tensors = this.#tensorsOf(new AdapterModules(file.source.path, base.config, config, file.entries));
  }

  /**
   * Opens an adapter and holds its shapes against the base; `base_model_name_or_path` is not looked at.
   *
   * @throws {UnsupportedAdapter} if it is more than a low-rank part of linear layers and values of norms
   * @throws {InvalidFile} if a file is missing or malformed, or a shape does not fit the base
   */
  static async open(path: string, base: Checkpoint): Promise<PeftAdapter> {
    const configPath = join(path, adapterConfigFile);
    const config = parsePeftConfig(configPath, await readJson(configPath));
    const text = differingText(base.text, await readTextAssets(path));
    const source = await FileSource.open(join(path, weightsFile));
    try {
      const { entries } = await readSafetensorsHeader(source);
      return new PeftAdapter(path, base, text, config, { source, entries });
    } catch (error) {
      await source[Symbol.asyncDispose]();
      throw error;
    }
  }

  async readBlob(blob: DeltaBlob, into: Uint8Array): Promise<void> {
    await readStored(this.#source, this.locate(blob), into);
  }

  get file(): FileStamp {
    return this.#source.stamp;
  }

  locate({ name }: DeltaBlob): StoredBlob {
    const located = this.#blobs.get(name);
    assert(located, `${this.path} was asked for the blob ${name}, which it does not list`);
    return located;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]();
  }

  #tensorsOf(modules: AdapterModules): ReadonlyMap<string, DeltaTensor> {
    const rank = 2 ** Math.ceil(Math.log2(Math.max(rankMin, modules.rankMax)));
    return new Map(
      parametersOf(this.config).map((parameter) => [parameter.name, this.#tensorOf(parameter, modules, rank)]),
    );
  }

  #tensorOf({ name, shape }: Parameter, modules: AdapterModules, rank: number): DeltaTensor {
    const saved = modules.saved.get(name);
    if (saved) {
      const dtype = floatDTypes[saved.dtype as keyof typeof floatDTypes];
      const value = { name: saved.name, byteLength: tensorBytes(dtype, shape), sha256: null };
      this.#keep(value, saved, { kind: "values", ...floatsOf(saved) });
      return { name, kind: "absolute", dtype, shape, value };
    }
    const pair = modules.pairs.get(name);
    if (!pair) return { name, kind: "unchanged", dtype: "f16", shape, extraRows: null };
    const [rows, cols] = shape as readonly [number, number];
    const blob = (side: "down" | "up") => blobOfFactor(name, 0, side, { dtype: "f16", rank }, { rows, cols }, null);
    const [down, up] = [blob("down"), blob("up")];
    const ownRank = pair.a.shape[0]!;
    this.#keep(down, pair.a, { kind: "scaled", ...floatsOf(pair.a), cols, filledCols: cols, scale: 1 });
    this.#keep(up, pair.b, {
      kind: "scaled",
      ...floatsOf(pair.b),
      cols: ownRank,
      filledCols: rank,
      scale: pair.scale,
    });
    return {
      name,
      kind: "planes",
      dtype: "f16",
      shape,
      planeDType: null,
      planes: [],
      factors: [{ dtype: "f16", rank, down, up }],
      extraRows: null,
      norm: 0, // not known: nothing was encoded here, and nothing lost
      error: 0,
    };
  }

  #keep(blob: DeltaBlob, { offset, byteLength }: SafetensorsEntry, form: StoredForm): void {
    this.#blobs.set(blob.name, { ...blob, offset, storedBytes: byteLength, form });
  }
}

interface WeightsFile {
  readonly source: FileSource;
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
}

interface FactorPair {
  readonly a: SafetensorsEntry;
  readonly b: SafetensorsEntry;
  readonly scale: number;
}

const floatDTypes = { F32: "f32", F16: "f16", BF16: "bf16" } as const satisfies Record<string, FloatDType>;

/** The tensors of an adapter by the parameter that they change, every one of them accounted for. */
class AdapterModules {
  readonly pairs: ReadonlyMap<string, FactorPair>;
  /** Values in place of the base's. */
  readonly saved = new Map<string, SafetensorsEntry>();
  /** Of any module. */
  readonly rankMax: number;
  readonly #path: string;
  readonly #parameters: ReadonlyMap<string, Parameter>;

  constructor(path: string, config: ModelConfig, peft: PeftConfig, entries: ReadonlyMap<string, SafetensorsEntry>) {
    this.#path = path;
    this.#parameters = new Map(parametersOf(config).map((parameter) => [parameter.name, parameter]));
    const sides = { A: new Map<string, SafetensorsEntry>(), B: new Map<string, SafetensorsEntry>() };
    for (const entry of entries.values()) {
      if (!(entry.dtype in floatDTypes)) throw this.#unsupported(entry, `has dtype ${entry.dtype}; floats are served`);
      const found = /^base_model\.model\.(?<module>.+)\.lora_(?<side>[AB])(\.default)?\.weight$/.exec(
        entry.name,
      )?.groups;
      if (found) sides[found.side as "A" | "B"].set(found.module!, entry);
      else this.#save(entry);
    }
    const modules = new Set([...sides.A.keys(), ...sides.B.keys()]);
    this.pairs = new Map(
      [...modules].map((module) => {
        return [`${module}.weight`, this.#pairOf(module, sides.A.get(module), sides.B.get(module), peft)];
      }),
    );
    this.rankMax = Math.max(0, ...[...this.pairs.values()].map(({ a }) => a.shape[0]!));
  }

  #pairOf(
    module: string,
    a: SafetensorsEntry | undefined,
    b: SafetensorsEntry | undefined,
    peft: PeftConfig,
  ): FactorPair {
    const known = a ?? b;
    assert(known, `${module} was found in ${this.#path}`);
    const parameter = this.#parameters.get(`${module}.weight`);
    if (!parameter || (parameter.kind !== "linear" && parameter.kind !== "head"))
      throw this.#unsupported(known, "changes what is not a linear layer of the base");
    if (!a || !b)
      throw new InvalidFile(this.#path, `module "${module}" has lora_${a ? "A" : "B"} and no lora_${a ? "B" : "A"}`);
    const rank = peft.rankOf(module);
    const [out, input] = parameter.shape as readonly [number, number];
    this.#checkShape(a, [rank, input]);
    this.#checkShape(b, [out, rank]);
    return { a, b, scale: peft.scaleOf(module) };
  }

  #save(entry: SafetensorsEntry): void {
    const name = entry.name.replace(/^base_model\.model\./, "").replace(/\.modules_to_save(\.default)?\./, ".");
    const parameter = this.#parameters.get(name);
    if (parameter?.kind !== "vector") {
      throw this.#unsupported(
        entry,
        "is not a factor of a linear layer nor the values of a norm, which are what is served",
      );
    }
    this.#checkShape(entry, parameter.shape);
    this.saved.set(name, entry);
  }

  #checkShape({ name, shape }: SafetensorsEntry, expected: readonly number[]): void {
    if (String(shape) === String(expected)) return;
    const problem = `tensor "${name}" has shape [${shape.join(", ")}], expected [${expected.join(", ")}]`;
    throw new InvalidFile(this.#path, problem, { details: { tensor: name } });
  }

  #unsupported({ name }: SafetensorsEntry, problem: string): UnsupportedAdapter {
    return new UnsupportedAdapter(this.#path, `tensor "${name}"`, problem);
  }
}

/** @param entry of a type that was found to be served */
function floatsOf({ name, dtype }: SafetensorsEntry) {
  return { tensor: name, dtype: dtype as keyof typeof floatDTypes };
}
