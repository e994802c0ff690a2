import { assert } from "../util/index.js";
import type { SamplingParams } from "./sampling.js";
import { ordinary, type Standing } from "./standing.js";

/** A completion as the engine sees it: numbers only. With `generated` it is one that began elsewhere and goes on here. */
export interface SequenceSpec {
  readonly id: string;
  /** Null for the base itself. */
  readonly variant: string | null;
  readonly prompt: readonly number[];
  /** Tokens already handed out, after the prompt. */
  readonly generated: readonly number[];
  readonly sampling: SamplingParams;
  /** Tokens it may generate in all, those in `generated` included. */
  readonly maxTokens: number;
  /** Tokens that end it when drawn. */
  readonly endTokens: readonly number[];
  /** None of them is drawn before it has generated so many. 0 where it is left out. */
  readonly minTokens?: number;
  /** Report log probabilities with this many alternatives, at most 64; null for none. */
  readonly topLogprobs: number | null;
  /** {@link ordinary} where it is left out. */
  readonly standing?: Standing;
}

/** One completion in progress: its tokens and how many of them are computed. Everything else is derived. */
export class Sequence {
  readonly spec: SequenceSpec;
  readonly tokens: number[];
  /** Tokens whose keys and values lie in the cache. */
  computedTokens = 0;
  /** Tokens that it found in the cache when it was let in for the first time. */
  cachedTokens = 0;
  /** Its region in the cache while it runs. */
  region: number | null = null;
  /** Its number in the order of arrival. */
  arrival = 0;
  /** How often it has given its region to another; what the cache has lost of it by then is computed again. */
  preemptions = 0;
  /**
   * It has waited or given way enough: nobody else gets its region until it ends. It may still give it up where it lacks memory
   * itself.
   */
  keepsRegion = false;

  constructor(spec: SequenceSpec) {
    assert(spec.prompt.length > 0, `sequence ${spec.id} has an empty prompt`);
    this.spec = spec;
    this.tokens = [...spec.prompt, ...spec.generated];
  }

  get id(): string {
    return this.spec.id;
  }

  get variant(): string | null {
    return this.spec.variant;
  }

  get standing(): Standing {
    return this.spec.standing ?? ordinary;
  }

  /** Tokens the model has yet to see: a whole prompt, a chunk of one, or 1 while decoding. */
  get pendingTokens(): number {
    return this.tokens.length - this.computedTokens;
  }

  get generatedTokens(): number {
    return this.tokens.length - this.spec.prompt.length;
  }
}
