// A set of texts is a file. In a .txt file everything is one text; a .jsonl file has an object a line, of one of these forms:
//
//   {"messages": [{"role": "user", "content": "…"}, …, {"role": "assistant", "content": "…"}]}    the last message is the answer
//   {"messages": [{"role": "user", "content": "…"}, …], "answer": "…"}                            the same, told apart
//   {"text": "…"}

import { readFile } from "node:fs/promises";
import { basename, extname } from "node:path";
import { type ChatMessage, InvalidFile, InvalidRequest } from "../core/index.js";
import { assert, isRecord } from "../util/index.js";
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
  const ending = extname(path);
  if (ending !== ".txt" && ending !== ".jsonl")
    throw new InvalidFile(path, `a set of texts is a .jsonl or a .txt file, not "${ending}"`);
  const content = await readFile(path, "utf8").catch((cause: Error) => {
    throw new InvalidFile(path, cause.message, { cause });
  });
  const reader = new SetReader(path, format, options);
  if (ending === ".txt") reader.addText(content);
  else reader.addLines(content);
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

  addLines(content: string): void {
    for (const [index, line] of content.split("\n").entries()) {
      if (line.trim() === "") continue;
      const entry = this.#parse(line, index + 1);
      if ("text" in entry) this.addText(entry.text);
      else this.#addChat(entry.messages, index + 1);
      if (this.#chatsLeft <= 0 && this.#textTokensLeft <= 0) return;
    }
  }

  addText(text: string): void {
    if (this.#textTokensLeft <= 0) return;
    for (const tokens of this.#format.windowsOf(text, this.#windowTokens)) {
      if (this.#textTokensLeft <= 0) return;
      this.#textTokensLeft -= tokens.length;
      if (tokens.length > 1) this.#samples.push({ tokens, firstCounted: 1, reference: null });
    }
  }

  finish(): TextSet {
    if (this.#samples.length === 0) {
      const why = this.#tooLong > 0 ? `all ${this.#tooLong} chats exceed ${this.#contextLength} tokens` : "it is empty";
      throw new InvalidFile(this.#path, `there is nothing to read in it: ${why}`);
    }
    const name = basename(this.#path, extname(this.#path));
    return { name, path: this.#path, samples: this.#samples, tooLong: this.#tooLong };
  }

  #addChat(messages: readonly ChatMessage[], line: number): void {
    if (this.#chatsLeft <= 0) return;
    this.#chatsLeft -= 1;
    const chat = this.#chatTokens(messages, line);
    const tokens = [...chat.prompt, ...chat.answer];
    if (tokens.length > this.#contextLength) this.#tooLong += 1;
    else this.#samples.push({ tokens, firstCounted: chat.prompt.length, reference: messages.at(-1)!.content });
  }

  #chatTokens(messages: readonly ChatMessage[], line: number) {
    try {
      const chat = this.#format.chatTokens(messages);
      if (chat && chat.prompt.length > 0) return chat;
    } catch (cause) {
      if (!(cause instanceof InvalidRequest)) throw cause;
      throw this.#invalid(line, cause.message, cause);
    }
    const why = this.#format.template ? "does not show its answer" : "is missing";
    throw this.#invalid(line, `is a chat, and the chat template of ${this.#format.tokenizer.path} ${why}`);
  }

  #parse(line: string, number: number): { text: string } | { messages: readonly ChatMessage[] } {
    let entry: unknown;
    try {
      entry = JSON.parse(line);
    } catch (cause) {
      throw this.#invalid(number, `is not JSON (${(cause as Error).message})`, cause);
    }
    if (isRecord(entry) && typeof entry.text === "string") return { text: entry.text };
    if (isRecord(entry) && Array.isArray(entry.messages) && entry.messages.every(isMessage)) {
      if (typeof entry.answer === "string")
        return { messages: [...entry.messages, { role: "assistant", content: entry.answer }] };
      const last = entry.messages.at(-1);
      if (last?.role === "assistant" && entry.messages.length > 1) return { messages: entry.messages };
    }
    const forms = '{"messages"} that end with the assistant\'s, {"messages", "answer"} or {"text"}';
    throw this.#invalid(number, `is none of ${forms}: ${line.slice(0, 80)}`);
  }

  #invalid(line: number, problem: string, cause?: unknown): InvalidFile {
    return new InvalidFile(this.#path, `line ${line} ${problem}`, { cause, details: { line } });
  }
}

function isMessage(value: unknown): value is ChatMessage {
  return isRecord(value) && typeof value.role === "string" && typeof value.content === "string";
}
