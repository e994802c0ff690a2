// PEFT adapters made on the spot.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { numberToBf16, numberToF16 } from "../util/index.js";
import { writeSafetensors } from "./safetensors-writer.js";

/** A tensor by its name in the file. */
export interface AdapterTensor {
  readonly shape: readonly number[];
  readonly values: Float32Array;
  readonly dtype?: "F32" | "F16" | "BF16";
}

/** The two sides of a module's factors, `A` `[r, in]` and `B` `[out, r]`. */
export function pairOf(module: string, a: AdapterTensor, b: AdapterTensor): Record<string, AdapterTensor> {
  const prefix = `base_model.model.${module}`;
  return { [`${prefix}.lora_A.weight`]: a, [`${prefix}.lora_B.weight`]: b };
}

/** Writes an adapter as PEFT does; `config` goes over a plain one of rank 4 and scale 2. */
export async function writeAdapter(
  folder: string,
  tensors: Readonly<Record<string, AdapterTensor>>,
  config: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const plain = {
    peft_type: "LORA",
    base_model_name_or_path: "somewhere/else",
    r: 4,
    lora_alpha: 8,
    use_rslora: false,
    use_dora: false,
    fan_in_fan_out: false,
    bias: "none",
    init_lora_weights: true,
    target_modules: ["q_proj"],
    modules_to_save: null,
    rank_pattern: {},
    alpha_pattern: {},
  };
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "adapter_config.json"), JSON.stringify({ ...plain, ...config }));
  const stored = Object.entries(tensors).map(([name, { shape, values, dtype = "F32" }]) => {
    const bytes =
      dtype === "F32"
        ? new Uint8Array(values.buffer)
        : new Uint8Array(Uint16Array.from(values, dtype === "F16" ? numberToF16 : numberToBf16).buffer);
    return { name, shape, dtype, bytes };
  });
  await writeSafetensors(join(folder, "adapter_model.safetensors"), stored);
  return folder;
}
