// adapter_config.json, as PEFT writes it. What changes the product W·x + (alpha / r)·B·A·x is refused by name; the rest says how the adapter
// was trained, or for whom, and does not matter here.

import { KindredError } from "../core/index.js";
import { isRecord } from "../util/index.js";
import { ConfigFields } from "./config-fields.js";

/** An adapter that is well-formed but does what this version does not serve. */
export class UnsupportedAdapter extends KindredError {
  constructor(path: string, field: string, problem: string) {
    super("unsupported_adapter", 422, `Cannot serve the adapter in ${path}: ${field} ${problem}`, {
      details: { path, field },
    });
  }
}

/** How the factors of an adapter are to be read. */
export interface PeftConfig {
  /** The rank of a module's factors, by its name within the model, `model.layers.0.self_attn.q_proj`. */
  rankOf(module: string): number;
  /** What `B·A` is multiplied with. */
  scaleOf(module: string): number;
}

/** Fields and the values with which they do nothing; null and absent fields do nothing either. */
const inert: Readonly<Record<string, readonly unknown[]>> = {
  use_dora: [false],
  fan_in_fan_out: [false],
  bias: ["none"],
  lora_bias: [false],
  use_qalora: [false],
  layer_replication: [],
  trainable_token_indices: [],
  target_parameters: [],
  alora_invocation_tokens: [],
  // Other ways to begin change the base's weights as well.
  init_lora_weights: [true, false, "gaussian", "eva", "orthogonal"],
};

/**
 * @throws {UnsupportedAdapter} naming the field
 * @throws {InvalidFile} for a field that is not what PEFT writes
 */
export function parsePeftConfig(path: string, json: Readonly<Record<string, unknown>>): PeftConfig {
  const fields = new ConfigFields(path, json);
  const type = fields.value("peft_type");
  if (type !== "LORA") throw new UnsupportedAdapter(path, "peft_type", `is ${JSON.stringify(type)}, expected "LORA"`);
  for (const [field, harmless] of Object.entries(inert)) {
    const value = fields.value(field);
    const isEmpty =
      (Array.isArray(value) && value.length === 0) || (isRecord(value) && Object.keys(value).length === 0);
    if (value === undefined || isEmpty || harmless.includes(value)) continue;
    const known = harmless.length > 0 ? harmless.map((one) => JSON.stringify(one)).join(", ") : "none";
    throw new UnsupportedAdapter(path, field, `is ${JSON.stringify(value).slice(0, 80)}, served is ${known}`);
  }
  const rank = fields.count("r", { max: 4096 });
  const alpha = fields.positive("lora_alpha", 8);
  const isRankStabilised = fields.boolean("use_rslora", false);
  const ranks = patternsOf(path, "rank_pattern", json.rank_pattern);
  const alphas = patternsOf(path, "alpha_pattern", json.alpha_pattern);
  const rankOf = (module: string) => valueFor(module, ranks) ?? rank;
  return {
    rankOf,
    scaleOf: (module) =>
      (valueFor(module, alphas) ?? alpha) / (isRankStabilised ? Math.sqrt(rankOf(module)) : rankOf(module)),
  };
}

/** Numbers by the end of a module's name. */
type Patterns = readonly (readonly [ending: string, value: number])[];

function patternsOf(path: string, field: string, value: unknown): Patterns {
  if (value === undefined || value === null) return [];
  if (!isRecord(value)) throw new UnsupportedAdapter(path, field, "is not an object");
  return Object.entries(value).map(([pattern, number]) => {
    // PEFT takes regular expressions; names with dots are what it writes itself.
    if (!/^\^?[\w.]+$/.test(pattern))
      throw new UnsupportedAdapter(path, `${field}["${pattern}"]`, "is a pattern; served are names of modules");
    if (typeof number !== "number" || !(number > 0) || !Number.isFinite(number))
      throw new UnsupportedAdapter(
        path,
        `${field}["${pattern}"]`,
        `is ${JSON.stringify(number)}, expected a number above 0`,
      );
    return [pattern, number];
  });
}

/** The first pattern that a name ends with, from a dot on, or that it is when the pattern begins with `^`. */
function valueFor(module: string, patterns: Patterns): number | undefined {
  const fits = (pattern: string) =>
    pattern.startsWith("^") ? module === pattern.slice(1) : module === pattern || module.endsWith(`.${pattern}`);
  return patterns.find(([pattern]) => fits(pattern))?.[1];
}
