import { basename, extname } from "node:path";
import { type ChatMessage, InvalidFile, InvalidRequest } from "../core/index.js";
import { assert } from "../util/index.js";
import { invalidLine, readTextEntries } from "./text-entries.js";
import type { TextFormat } from "./text-format.js";

/** A stretch of text in a model's tokens, and which of them count. */
export interface TextSample {
  readonly tokens: readonly number[];
  /**
   * Tokens from here on count: a chat's answer with the end of its turn, or all of a text but the first. What a model says of token
   * `i` is in the logits of row `i - 1`.
   */
  readonly firstCounted: number;
  /** A chat's answer as the file has it; null for plain text. */
  readonly reference: string | null;
}

/** The samples of one file. */
export interface TextSet {
  /** The file's name without its ending. */
  readonly name: string;
  readonly path: string;
  readonly samples: readonly TextSample[];
  /** Chats that were left out because they are longer than `contextLength`. */
  readonly tooLong: number;
}

/** How much of a file is read, and how it is cut. */
export interface TextSetOptions {
  /** Tokens that a sample may have. */
  readonly contextLength: number;
  /** Tokens of a window of plain text, fewer where the context is shorter. Default 128. */
  readonly windowTokens?: number;
  /** Chats that are taken, from the first. Default all. */
  readonly chatsMax?: number;
  /** Tokens of plain text that are taken, in whole windows, from the first. Default all. */
  readonly textTokensMax?: number;
}

/**
 * Reads a file of chats or plain text as one model's tokens.
 *
 * @throws {InvalidFile} naming the file, and the first line that is none of the known forms or does not fit the model's template
 */
export async function readTextSet(path: string, format: TextFormat, options: TextSetOptions): Promise<TextSet> {
  const reader = new SetReader(path, format, options);
  for await (const entry of readTextEntries(path)) {
    if (entry.kind === "text") reader.addText(entry.text);
    else reader.addChat(entry.messages, entry.line);
    if (reader.isFull) break;
  }
  return reader.finish();
}

class SetReader {
  readonly #path: string;
  readonly #format: TextFormat;
  readonly #contextLength: number;
  readonly #windowTokens: number;
  readonly #samples: TextSample[] = [];
  #chatsLeft: number;
  #textTokensLeft: number;
  #tooLong = 0;

  constructor(path: string, format: TextFormat, options: TextSetOptions) {
    const {
      contextLength,
      windowTokens = 128,
      chatsMax = Number.POSITIVE_INFINITY,
      textTokensMax = Number.POSITIVE_INFINITY,
    } = options;
    assert(contextLength >= 3 && windowTokens >= 3, "a window has room for BOS and two tokens");
    this.#path = path;
    this.#format = format;
    this.#contextLength = contextLength;
    this.#windowTokens = Math.min(windowTokens, contextLength);
    this.#chatsLeft = chatsMax;
    this.#textTokensLeft = textTokensMax;
  }

  get isFull(): boolean {
    return this.#chatsLeft <= 0 && this.#textTokensLeft <= 0;
  }

  addText(text: string): void {
    if (this.#textTokensLeft <= 0) return;
    for (const tokens of this.#format.windowsOf(text, this.#windowTokens)) {
      if (this.#textTokensLeft <= 0) return;
      this.#textTokensLeft -= tokens.length;
      if (tokens.length > 1) this.#samples.push({ tokens, firstCounted: 1, reference: null });
    }
  }

  addChat(messages: readonly ChatMessage[], line: number): void {
    if (this.#chatsLeft <= 0) return;
    this.#chatsLeft -= 1;
    const chat = this.#chatTokens(messages, line);
    const tokens = [...chat.prompt, ...chat.answer];
    if (tokens.length > this.#contextLength) this.#tooLong += 1;
    else this.#samples.push({ tokens, firstCounted: chat.prompt.length, reference: messages.at(-1)!.content });
  }

  finish(): TextSet {
    if (this.#samples.length === 0) {
      const why = this.#tooLong > 0 ? `all ${this.#tooLong} chats exceed ${this.#contextLength} tokens` : "it is empty";
      throw new InvalidFile(this.#path, `there is nothing to read in it: ${why}`);
    }
    const name = basename(this.#path, extname(this.#path));
    return { name, path: this.#path, samples: this.#samples, tooLong: this.#tooLong };
  }

  #chatTokens(messages: readonly ChatMessage[], line: number) {
    try {
      const chat = this.#format.chatTokens(messages);
      if (chat && chat.prompt.length > 0) return chat;
    } catch (cause) {
      if (!(cause instanceof InvalidRequest)) throw cause;
      throw invalidLine(this.#path, line, cause.message, cause);
    }
    const why = this.#format.template ? "does not show its answer" : "is missing";
    throw invalidLine(this.#path, line, `is a chat, and the chat template of ${this.#format.tokenizer.path} ${why}`);
  }
}
