import { randomUUID } from "node:crypto";
import type { FinishReason, TokenReport, Usage } from "../core/index.js";
import { assert } from "../util/index.js";
import type { ChoiceEvent } from "./choices.js";
import type { Order } from "./parse.js";

/** How one of OpenAI's completion APIs spells its answers. */
export interface AnswerShape {
  readonly idPrefix: string;
  /** The `object` of a whole answer. */
  readonly object: string;
  /** The `object` of one chunk of a streamed answer. */
  readonly chunkObject: string;
  /** @param logprobs whether the client asked for log probabilities */
  choice(index: number, logprobs: boolean): ChoiceShape;
}

/** Spells one choice of an answer: either `whole`, or `opening`, any number of `piece` and `ending` in this order. */
export interface ChoiceShape {
  whole(text: string, reports: readonly TokenReport[], reason: FinishReason): object;
  /** What precedes the first piece; null if nothing does. */
  opening(): object | null;
  piece(text: string, reports: readonly TokenReport[]): object;
  ending(reason: FinishReason): object;
}

/** An answer's fields beside choices and usage; the same in all chunks of one answer. */
interface Head {
  readonly id: string;
  readonly object: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
}

/** What an answer is made of. */
export interface AnswerParts {
  readonly shape: AnswerShape;
  readonly order: Order;
  readonly events: AsyncIterable<ChoiceEvent>;
  readonly fingerprint: string;
}

/** The whole answer, once every choice is finished. */
export async function renderWhole({ shape, order, events, fingerprint }: AnswerParts): Promise<object> {
  const drafts = order.completions.map(() => ({
    text: "",
    reports: [] as TokenReport[],
    reason: "stop" as FinishReason,
  }));
  const usage = new UsageTally(order);
  for await (const { index, event } of events) {
    const draft = drafts[index];
    assert(draft !== undefined, `Choice ${index} was not ordered`);
    if (event.type === "text") {
      draft.text += event.text;
      draft.reports.push(...event.reports);
    } else if (event.type === "finished") {
      draft.reason = event.reason;
      usage.add(index, event.usage);
    }
  }
  const choices = drafts.map(({ text, reports, reason }, index) =>
    shape.choice(index, order.logprobs).whole(text, reports, reason),
  );
  return { ...head(shape.idPrefix, shape.object, order.model, fingerprint), choices, usage: usage.render() };
}

/**
 * The answer chunk by chunk. The first chunk comes with the first token and not before, so that what goes wrong
 * until then can still be an HTTP status.
 */
export async function* renderChunks({ shape, order, events, fingerprint }: AnswerParts): AsyncGenerator<object> {
  const opened = new Set<number>();
  const choices = order.completions.map((_, index) => shape.choice(index, order.logprobs));
  const usage = new UsageTally(order);
  const common = {
    ...head(shape.idPrefix, shape.chunkObject, order.model, fingerprint),
    ...(order.includeUsage ? { usage: null } : {}),
  };

  for await (const { index, event } of events) {
    if (event.type === "started") continue;
    const choice = choices[index];
    assert(choice !== undefined, `Choice ${index} was not ordered`);
    if (!opened.has(index)) {
      opened.add(index);
      const opening = choice.opening();
      if (opening !== null) yield { ...common, choices: [opening] };
    }
    if (event.type === "finished") {
      usage.add(index, event.usage);
      yield { ...common, choices: [choice.ending(event.reason)] };
    } else if (event.text !== "" || (order.logprobs && event.reports.length > 0)) {
      yield { ...common, choices: [choice.piece(event.text, event.reports)] };
    }
  }
  if (order.includeUsage) yield { ...common, choices: [], usage: usage.render() };
}

function head(idPrefix: string, object: string, model: string, fingerprint: string): Head {
  const id = `${idPrefix}-${randomUUID().replaceAll("-", "")}`;
  return { id, object, created: Math.floor(Date.now() / 1000), model, system_fingerprint: fingerprint };
}

/** Sums the usage of an answer's choices. A prompt counts once, with what its first choice found cached. */
class UsageTally {
  readonly #choicesPerPrompt: number;
  #promptTokens = 0;
  #completionTokens = 0;
  #cachedTokens = 0;

  constructor({ choicesPerPrompt }: Pick<Order, "choicesPerPrompt">) {
    this.#choicesPerPrompt = choicesPerPrompt;
  }

  add(index: number, usage: Usage): void {
    this.#completionTokens += usage.completionTokens;
    if (index % this.#choicesPerPrompt !== 0) return;
    this.#promptTokens += usage.promptTokens;
    this.#cachedTokens += usage.cachedTokens;
  }

  render(): object {
    return {
      prompt_tokens: this.#promptTokens,
      completion_tokens: this.#completionTokens,
      total_tokens: this.#promptTokens + this.#completionTokens,
      prompt_tokens_details: { cached_tokens: this.#cachedTokens },
    };
  }
}

/** A log probability as JSON can hold it: OpenAI writes −9999 for a token that cannot come. */
export function finiteLogprob(logprob: number): number {
  return Math.max(logprob, -9999);
}
