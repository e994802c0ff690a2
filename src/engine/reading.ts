import { defaultSampling, Sequence } from "../core/index.js";
import { assert } from "../util/index.js";
import type { ResidentVariant } from "./batch.js";
import type { Stepper } from "./stepper.js";

/** What a reading reads, as whom, and where its keys and values go. */
export interface ReadingOptions {
  /** Null for the base. */
  readonly variant: string | null;
  readonly tokens: readonly number[];
  /** A region of the cache that is its own until it is done. */
  readonly region: number;
  readonly resident: (variant: string) => ResidentVariant | undefined;
}

/** A text that a model reads from the first token on, without saying anything: what it would have said is in the logits. */
export class Reading {
  readonly #stepper: Stepper;
  readonly #sequence: Sequence;
  readonly #resident: ReadingOptions["resident"];

  constructor(stepper: Stepper, { variant, tokens, region, resident }: ReadingOptions) {
    this.#stepper = stepper;
    this.#resident = resident;
    this.#sequence = new Sequence({
      id: "reading",
      variant,
      prompt: tokens,
      generated: [],
      sampling: { ...defaultSampling, seed: 0 },
      maxTokens: 1,
      endTokens: [],
      topLogprobs: null,
    });
    this.#sequence.region = region;
  }

  /**
   * Reads the next `count` tokens in one step.
   *
   * @returns logits over the variant's vocabulary after each of the last `scored` of them; good until the next step of this stepper
   */
  advance(count: number, scored: number): readonly Float32Array[] {
    const sequence = this.#sequence;
    assert(count >= 1 && count <= sequence.pendingTokens, `${count} tokens are read of ${sequence.pendingTokens}`);
    assert(scored >= 0 && scored <= count, `${scored} rows are wanted of ${count}`);
    const plan = { spans: [{ sequence, count, samples: false, scored }], wanted: [] };
    const { logits } = this.#stepper.logits(plan, this.#resident);
    sequence.computedTokens += count;
    return logits;
  }
}
