import type { FinishReason, TokenLogprob, TokenReport } from "../core/index.js";
import type { CompletionApi } from "./answer.js";
import { parseTextOrder } from "./parse.js";
import { type ChoiceShape, finiteLogprob } from "./render.js";

/** POST /v1/completions. */
export const completions: CompletionApi = {
  path: "/completions",
  parse: parseTextOrder,
  shape: {
    idPrefix: "cmpl",
    object: "text_completion",
    chunkObject: "text_completion",
    choice: (index, logprobs) => new TextChoice(index, logprobs),
  },
};

class TextChoice implements ChoiceShape {
  readonly #index: number;
  readonly #logprobs: TextLogprobs | null;

  constructor(index: number, logprobs: boolean) {
    this.#index = index;
    this.#logprobs = logprobs ? new TextLogprobs() : null;
  }

  whole(text: string, reports: readonly TokenReport[], reason: FinishReason): object {
    return { ...this.piece(text, reports), finish_reason: reason };
  }

  opening(): null {
    return null;
  }

  piece(text: string, reports: readonly TokenReport[]): object {
    return { index: this.#index, text, logprobs: this.#logprobs?.render(reports) ?? null, finish_reason: null };
  }

  ending(reason: FinishReason): object {
    return { index: this.#index, text: "", logprobs: null, finish_reason: reason };
  }
}

/** Spells the log probabilities of one choice; `text_offset` counts on from call to call. */
class TextLogprobs {
  #characters = 0;

  render(reports: readonly TokenReport[]): object {
    return {
      tokens: reports.map(tokenName),
      token_logprobs: reports.map(({ logprob }) => finiteLogprob(logprob)),
      top_logprobs: reports.map((report) => Object.fromEntries([...report.top, report].map(nameAndLogprob))),
      text_offset: reports.map(({ bytes }) => this.#pass(bytes)),
    };
  }

  /**
   * Moves past a token.
   *
   * @returns where it begins, in Unicode characters from the start of the choice's text. A token that begins inside a
   *   character begins where the character does.
   */
  #pass(bytes: readonly number[]): number {
    const startsInside = this.#characters > 0 && bytes[0] !== undefined && isContinuation(bytes[0]);
    const offset = this.#characters - (startsInside ? 1 : 0);
    this.#characters += bytes.filter((byte) => !isContinuation(byte)).length;
    return offset;
  }
}

/** Whether a byte of UTF-8 continues a character: 10xxxxxx. */
function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}

function nameAndLogprob(token: TokenLogprob): [name: string, logprob: number] {
  return [tokenName(token), finiteLogprob(token.logprob)];
}

/** A token's text; of one that holds a part of a character, its bytes, so that two such tokens do not share a name. */
function tokenName({ token, bytes }: TokenLogprob): string {
  if (!token.includes("\ufffd")) return token;
  return `bytes:${bytes.map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}`;
}
