import type { FinishReason, TokenLogprob, TokenReport } from "../core/index.js";
import type { CompletionApi } from "./answer.js";
import { parseChatOrder } from "./parse.js";
import { type ChoiceShape, finiteLogprob } from "./render.js";

/** POST /v1/chat/completions. */
export const chatCompletions: CompletionApi = {
  path: "/chat/completions",
  parse: parseChatOrder,
  shape: {
    idPrefix: "chatcmpl",
    object: "chat.completion",
    chunkObject: "chat.completion.chunk",
    choice: (index, logprobs) => new ChatChoice(index, logprobs),
  },
};

class ChatChoice implements ChoiceShape {
  readonly #index: number;
  readonly #logprobs: boolean;

  constructor(index: number, logprobs: boolean) {
    this.#index = index;
    this.#logprobs = logprobs;
  }

  whole(text: string, reports: readonly TokenReport[], reason: FinishReason): object {
    return {
      index: this.#index,
      message: { role: "assistant", content: text, refusal: null },
      logprobs: this.#logprobs ? chatLogprobs(reports) : null,
      finish_reason: reason,
    };
  }

  opening(): object {
    return this.#chunk({ role: "assistant", content: "" });
  }

  piece(text: string, reports: readonly TokenReport[]): object {
    return { ...this.#chunk({ content: text }), logprobs: this.#logprobs ? chatLogprobs(reports) : null };
  }

  ending(reason: FinishReason): object {
    return { ...this.#chunk({}), finish_reason: reason };
  }

  #chunk(delta: object): object {
    return { index: this.#index, delta, logprobs: null, finish_reason: null };
  }
}

function chatLogprobs(reports: readonly TokenReport[]): object {
  const content = reports.map((report) => ({ ...chatLogprob(report), top_logprobs: report.top.map(chatLogprob) }));
  return { content, refusal: null };
}

function chatLogprob({ token, logprob, bytes }: TokenLogprob): object {
  return { token, logprob: finiteLogprob(logprob), bytes };
}
