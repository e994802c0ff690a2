import type { FinishReason } from "./completion.js";
import type { Sequence } from "./sequence.js";

/** Tokens of one sequence in one step: `count` of them from its first uncomputed one. */
export interface Span {
  readonly sequence: Sequence;
  readonly count: number;
  /** The span reaches the sequence's last token, so the step draws the next one. */
  readonly samples: boolean;
  /** Of its last rows, so many give logits to be read, whether or not a token is drawn. None where it is left out. */
  readonly scored?: number;
}

/** A variant that waiting sequences need and that is not resident. */
export interface WantedVariant {
  readonly variant: string;
  /** What must stay while it is brought in: the variants of those that run, and of those that wait, or come before it in line. */
  readonly spared: ReadonlySet<string>;
}

/** Cells that a sequence finds in another region, and that its own needs. */
export interface RegionCopy {
  readonly sequence: Sequence;
  readonly from: number;
  readonly to: number;
  /** From the first one on. */
  readonly cells: number;
}

/** What one step computes, and what it would like to have for the next ones. */
export interface StepPlan {
  /** To be done before the spans, in this order. None where it is left out. */
  readonly copies?: readonly RegionCopy[];
  readonly spans: readonly Span[];
  /** What to load, the most urgent first. */
  readonly wanted: readonly WantedVariant[];
}

export interface Logprob {
  readonly token: number;
  readonly logprob: number;
}

/** A token drawn for a sequence. */
export interface SampledToken {
  readonly id: string;
  readonly token: number;
  /** Natural logarithm of its probability before temperature and filters, when asked for. */
  readonly logprob: number | null;
  readonly top: readonly Logprob[];
}

/** A sequence that has its first token. */
export interface StartedSequence {
  readonly id: string;
  /** Tokens of its prompt that lay in the cache already. */
  readonly cachedTokens: number;
}

/** A sequence that ended with this step. */
export interface FinishedSequence {
  readonly id: string;
  readonly reason: FinishReason;
}
