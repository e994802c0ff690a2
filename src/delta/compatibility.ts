import { KindredError, type ModelConfig } from "../core/index.js";
import { type Checkpoint, withVocabulary } from "../formats/index.js";

/** Two checkpoints whose difference cannot be taken or cannot be stored. */
export class CannotCompress extends KindredError {
  constructor(
    tuned: Checkpoint,
    base: Checkpoint,
    problem: string,
    options: { tensor?: string; cause?: unknown } = {},
  ) {
    super("cannot_compress", 422, `Cannot compress ${tuned.path} against ${base.path}: ${problem}`, {
      details: { tuned: tuned.path, base: base.path, ...(options.tensor && { tensor: options.tensor }) },
      cause: options.cause,
    });
  }
}

/** What decides which parameters there are and what shapes they have, but for embedding and output head. */
const structure = [
  "architecture",
  "hiddenSize",
  "layers",
  "heads",
  "kvHeads",
  "headDim",
  "feedForward",
  "qkvBias",
  "outputBias",
  "mlpBias",
  "qkNorm",
] as const satisfies (keyof ModelConfig)[];

/** In what two checkpoints are of other shapes, as a clause; undefined where every parameter of `tuned` has one of `base` to differ from. */
export function structuralDifference(base: ModelConfig, tuned: ModelConfig): string | undefined {
  const field = structure.find((field) => base[field] !== tuned[field]);
  return field && `its ${field} is ${tuned[field]}, the base's is ${base[field]}`;
}

/** A base and a fine-tune of it. */
export interface CheckpointPair {
  readonly base: Checkpoint;
  readonly tuned: Checkpoint;
}

/**
 * Both as they are compared, tensor by tensor: with an output head of its own in both where one of them has one, and in the base
 * no words that the fine-tune lacks. The fine-tune may have words beyond the base's.
 */
export function comparable({ base, tuned }: CheckpointPair): CheckpointPair {
  const tiedEmbeddings = base.config.tiedEmbeddings && tuned.config.tiedEmbeddings;
  const vocabSize = Math.min(base.config.vocabSize, tuned.config.vocabSize);
  return {
    base: withVocabulary(base, { tiedEmbeddings, vocabSize }),
    tuned: withVocabulary(tuned, { tiedEmbeddings, vocabSize: tuned.config.vocabSize }),
  };
}

/** Does something with a tensor; of an error says which tensor it was. */
export async function namingTensor<T>(
  tuned: Checkpoint,
  base: Checkpoint,
  tensor: string,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (signal.aborted || !(error instanceof KindredError) || error instanceof CannotCompress) throw error;
    throw new CannotCompress(tuned, base, `tensor "${tensor}": ${error.message}`, { tensor, cause: error });
  }
}
