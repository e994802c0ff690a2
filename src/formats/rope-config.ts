import { InvalidFile, type ModelConfig, type RopeScaling, UnsupportedModel } from "../core/index.js";
import type { ConfigFields } from "./config-fields.js";

/**
 * Reads how positions are rotated. Older files have `rope_theta` and `rope_scaling` (whose kind is under `type` or
 * `rope_type`), those of transformers 5 one object `rope_parameters` with all of it.
 */
export function parseRope(path: string, fields: ConfigFields): Pick<ModelConfig, "ropeTheta" | "ropeScaling"> {
  const parameters = fields.record("rope_parameters");
  const ropeTheta = fields.positive("rope_theta", 10_000);
  const partial = (parameters ?? fields).value("partial_rotary_factor") ?? fields.value("partial_rotary_factor") ?? 1;
  if (partial !== 1) {
    throw new UnsupportedModel(
      path,
      `partial_rotary_factor is ${JSON.stringify(partial)}; only whole heads are rotated`,
    );
  }
  return {
    ropeTheta: parameters ? parameters.positive("rope_theta", ropeTheta) : ropeTheta,
    ropeScaling: parseScaling(path, parameters ?? fields.record("rope_scaling")),
  };
}

function parseScaling(path: string, scaling: ConfigFields | undefined): RopeScaling {
  const kind = scaling?.value("rope_type") ?? scaling?.value("type") ?? "default";
  if (!scaling || kind === "default") return { kind: "none" };
  if (kind === "linear") return { kind, factor: scaling.positive("factor") };
  if (kind === "llama3") {
    const low = scaling.positive("low_freq_factor");
    const high = scaling.positive("high_freq_factor");
    if (high <= low) throw new InvalidFile(path, `high_freq_factor ${high} must be above low_freq_factor ${low}`);
    return {
      kind,
      factor: scaling.positive("factor"),
      lowFrequencyFactor: low,
      highFrequencyFactor: high,
      originalContextLength: scaling.count("original_max_position_embeddings"),
    };
  }
  throw new UnsupportedModel(path, `rope scaling is ${JSON.stringify(kind)}; known are default, linear, llama3`);
}
