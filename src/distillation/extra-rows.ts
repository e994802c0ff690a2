import { elementCount } from "../core/index.js";
import type { Checkpoint } from "../formats/index.js";
import { toFloat32 } from "../ggml/index.js";
import { embeddingName, headName } from "./pass.js";
import { readStored } from "./stored-weights.js";

/** Rows of the variant's embedding and head beyond the base's: `[extra, hidden]`, row-major. */
export interface ExtraRows {
  readonly embedding: Float32Array;
  readonly head: Float32Array;
}

/** The rows of `tuned`'s vocabulary that the base's, of `baseRows`, does not have. */
export async function readExtraRows(tuned: Checkpoint, baseRows: number): Promise<ExtraRows> {
  const { config } = tuned;
  const read = async (name: string) => {
    if (config.vocabSize === baseRows) return new Float32Array(0);
    const { dtype, shape } = tuned.tensors.get(name)!;
    const whole = toFloat32(dtype, await readStored(tuned, name), elementCount(shape));
    return whole.slice(baseRows * config.hiddenSize);
  };
  const embedding = await read(embeddingName);
  return { embedding, head: config.tiedEmbeddings ? embedding : await read(headName(config)) };
}
