import { embeddingName, headName } from "../core/index.js";
import type { Checkpoint } from "../formats/index.js";
import { readValues } from "../model/index.js";

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
    return (await readValues(tuned, name)).slice(baseRows * config.hiddenSize);
  };
  const embedding = await read(embeddingName);
  return { embedding, head: config.tiedEmbeddings ? embedding : await read(headName(config)) };
}
