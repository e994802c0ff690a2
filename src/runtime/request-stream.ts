import type {
  CompletionEvent,
  CompletionRequest,
  FinishReason,
  Logprob,
  SampledToken,
  SequenceSpec,
  TokenLogprob,
  TokenReport,
} from "../core/index.js";
import { StopMatcher, TokenStream } from "../text/index.js";
import type { ServedModel } from "./served-model.js";

/** A token that an engine has drawn for a request. */
export interface Progress {
  readonly token: SampledToken;
  /** Why the engine ended with it, if it did. */
  readonly finished: FinishReason | null;
  /** Tokens of the prompt that the engine found in its cache. */
  readonly cachedTokens: number;
}

/** One request's tokens on their way to text: characters are never split, stop strings never shown. */
export class RequestStream {
  readonly #model: ServedModel;
  readonly #spec: SequenceSpec;
  readonly #text: TokenStream;
  readonly #stops: StopMatcher;
  readonly #endTokens: ReadonlySet<number>;
  #started = false;
  #tokens = 0;
  #finished = false;

  constructor(request: CompletionRequest, model: ServedModel, spec: SequenceSpec) {
    this.#model = model;
    this.#spec = spec;
    this.#text = new TokenStream(model.tokenizer);
    this.#stops = new StopMatcher(request.stop);
    this.#endTokens = new Set(spec.endTokens);
  }

  get isFinished(): boolean {
    return this.#finished;
  }

  /** The events that follow from one more token; the last ones when the engine ended with it, or a stop string came. */
  *push({ token: sampled, finished, cachedTokens }: Progress): Generator<CompletionEvent> {
    if (!this.#started) yield { type: "started", promptTokens: this.#spec.prompt.length };
    this.#started = true;
    this.#tokens += 1;
    const isEnd = this.#endTokens.has(sampled.token);
    let piece = isEnd ? "" : this.#text.push(sampled.token);
    if (finished) piece += this.#text.flush();
    const { text: shown, stopped } = this.#stops.push(piece);
    const text = finished && !stopped ? shown + this.#stops.flush() : shown;
    const reports = sampled.logprob === null || isEnd ? [] : [this.#reportOf(sampled, sampled.logprob)];
    if (text !== "" || reports.length > 0) yield { type: "text", text, reports };
    if (!finished && !stopped) return;
    this.#finished = true;
    const usage = { promptTokens: this.#spec.prompt.length, completionTokens: this.#tokens, cachedTokens };
    yield { type: "finished", reason: stopped ? "stop" : finished!, usage };
  }

  #reportOf(sampled: SampledToken, logprob: number): TokenReport {
    return { ...this.#named({ token: sampled.token, logprob }), top: sampled.top.map((entry) => this.#named(entry)) };
  }

  #named({ token, logprob }: Logprob): TokenLogprob {
    const bytes = this.#model.tokenizer.tokenBytes(token);
    return { token: new TextDecoder().decode(bytes), bytes: [...bytes], logprob };
  }
}
