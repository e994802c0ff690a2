import { KindredError, type ModelConfig } from "../core/index.js";
import type { Checkpoint } from "../formats/index.js";

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

/** What decides which parameters there are and what shapes they have, but for the vocabulary. */
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

/** @throws {CannotCompress} unless every parameter of `tuned` has one of `base` to differ from */
export function checkCompatible(base: Checkpoint, tuned: Checkpoint): void {
  const different = structure.find((field) => base.config[field] !== tuned.config[field]);
  if (different !== undefined) {
    const seen = `its ${different} is ${tuned.config[different]}, the base's is ${base.config[different]}`;
    throw new CannotCompress(tuned, base, `${seen}; a fine-tune has the shape of its base`);
  }
  if (base.config.tiedEmbeddings !== tuned.config.tiedEmbeddings) {
    const [has, hasNot] = tuned.config.tiedEmbeddings ? ["base", "fine-tune"] : ["fine-tune", "base"];
    throw new CannotCompress(
      tuned,
      base,
      `the ${has} has an output head of its own and the ${hasNot} shares its embedding's`,
    );
  }
  if (tuned.config.vocabSize < base.config.vocabSize) {
    throw new CannotCompress(
      tuned,
      base,
      `it has ${tuned.config.vocabSize} vocabulary rows and the base ${base.config.vocabSize}; more are possible, fewer are not`,
    );
  }
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
