import { uniformAt } from "../util/index.js";

/** A text on which the student is to speak like the fine-tune. */
export interface TrainingSample {
  /** As the variant reads them: a chat through its template with the fine-tune's answer, or plain text. */
  readonly tokens: readonly number[];
  /** The first position whose next-token distribution counts: for a chat, the last token before the answer; for plain text, 0. */
  readonly from: number;
}

/** How many distributions of a sample count. */
export function countedTokens({ tokens, from }: TrainingSample): number {
  return tokens.length - from;
}

/** Samples for training, one batch a step, and those that judge what training did, in batches too. Numbers are places in the list. */
export interface SamplePlan {
  readonly batches: readonly (readonly number[])[];
  readonly heldOut: readonly (readonly number[])[];
}

/** One in so many samples is held out. */
const HELD_OUT_ONE_IN = 10;

/**
 * Shuffles by `seed`, holds out a tenth of the samples, but no more than fill `heldOutTokensMax`, and fills `steps` batches of at
 * most `batchTokens` from the others, one pass over them after the other. A longer sample is a batch of its own.
 */
export function planSamples(
  samples: readonly TrainingSample[],
  options: { steps: number; batchTokens: number; heldOutTokensMax: number; seed: number },
): SamplePlan {
  const { steps, batchTokens, heldOutTokensMax, seed } = options;
  const order = shuffled([...samples.keys()], seed);
  const heldOutCount = Math.max(1, Math.floor(order.length / HELD_OUT_ONE_IN));
  const fill = (queue: number[], tokensMax: number): number[] => {
    const batch: number[] = [];
    let tokens = 0;
    while (queue.length > 0 && (batch.length === 0 || tokens + samples[queue[0]!]!.tokens.length <= tokensMax)) {
      tokens += samples[queue[0]!]!.tokens.length;
      batch.push(queue.shift()!);
    }
    return batch;
  };

  const heldOutQueue = fill(order.slice(0, heldOutCount), heldOutTokensMax);
  const heldOut: number[][] = [];
  while (heldOutQueue.length > 0) heldOut.push(fill(heldOutQueue, batchTokens));

  const training = order.slice(heldOutCount);
  const batches: number[][] = [];
  for (let pass = 1, queue: number[] = []; batches.length < steps; ) {
    if (queue.length === 0) queue = shuffled(training, seed + pass++);
    batches.push(fill(queue, batchTokens));
  }
  return { batches, heldOut };
}

/** Fisher and Yates's shuffle; the same for a seed. */
function shuffled(items: readonly number[], seed: number): number[] {
  const order = [...items];
  for (let at = order.length - 1; at > 0; at--) {
    const other = Math.floor(uniformAt(seed, at) * (at + 1));
    [order[at], order[other]] = [order[other]!, order[at]!];
  }
  return order;
}
