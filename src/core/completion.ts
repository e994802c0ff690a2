import type { SamplingParams } from "./sampling.js";
import type { Standing } from "./standing.js";

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

/** What a completion continues. Token ids are taken as they are; text gets the tokenizer's own prefix (BOS). */
export type Prompt =
  | { readonly kind: "chat"; readonly messages: readonly ChatMessage[] }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "tokens"; readonly tokens: readonly number[] };

export interface CompletionRequest {
  /** A variant's name, or the base's. */
  readonly model: string;
  readonly prompt: Prompt;
  /** Sampling as far as the client set it; the model's generation_config and then the defaults fill the rest. */
  readonly sampling: Partial<SamplingParams>;
  /** Null: until the model ends its turn or the context is full. */
  readonly maxTokens: number | null;
  /** Before it has so many tokens the model does not end its turn, though a stop string may; infinite: it goes on to its limit. 0 without it. */
  readonly minTokens?: number;
  /** The completion ends before the first of these in the text, and the text does not contain it. */
  readonly stop: readonly string[];
  /** Report each token's log probability, and those of this many alternatives. Null: report none. */
  readonly topLogprobs: number | null;
  /** {@link ordinary} where it is left out. */
  readonly standing?: Standing;
}

export interface TokenLogprob {
  readonly token: string;
  readonly bytes: readonly number[];
  /** Natural logarithm under the model's distribution, before temperature and filters. */
  readonly logprob: number;
}

/** One generated token as reported when log probabilities were asked for. */
export interface TokenReport extends TokenLogprob {
  readonly top: readonly TokenLogprob[];
}

export type FinishReason = "stop" | "length";

export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Prompt tokens that did not have to be computed. */
  readonly cachedTokens: number;
}

/** What a completion in progress says: `started` once, `text` any number of times, `finished` once and last. */
export type CompletionEvent =
  | { readonly type: "started"; readonly promptTokens: number }
  | { readonly type: "text"; readonly text: string; readonly reports: readonly TokenReport[] }
  | { readonly type: "finished"; readonly reason: FinishReason; readonly usage: Usage };

/** Something that `model` may name. */
export interface ModelCard {
  readonly id: string;
  /** The base's name for a variant, null for the base itself. */
  readonly parent: string | null;
  /** Seconds since 1970 when its files were written. */
  readonly created: number;
  readonly contextLength: number;
}

/** Completes requests, here or elsewhere: the one interface between the front door and the rest. */
export interface Completer {
  models(): readonly ModelCard[];
  /**
   * Completes a request. Leaving the iteration early, or the signal, gives its place back at once.
   *
   * @throws {ModelNotFound | InvalidRequest | Overloaded} on the first `next`, before anything was computed
   * @throws {DeadlineExceeded} at any time, when the request has a deadline
   */
  complete(request: CompletionRequest, signal: AbortSignal): AsyncIterable<CompletionEvent>;
}
