// A set of texts is a file. In a .txt file everything is one text; a .jsonl file has an object a line, of one of these forms:
//
//   {"messages": [{"role": "user", "content": "…"}, …, {"role": "assistant", "content": "…"}]}    the last message is the answer
//   {"messages": [{"role": "user", "content": "…"}, …], "answer": "…"}                            the same, told apart
//   {"text": "…"}

import { readFile } from "node:fs/promises";
import { extname } from "node:path";
import { type ChatMessage, InvalidFile } from "../core/index.js";
import { isRecord } from "../util/index.js";

/** One text of a set, before it becomes tokens. */
export type TextEntry =
  | { readonly kind: "text"; readonly text: string; readonly line: number }
  /** The last message is the answer, and there is one before it. */
  | { readonly kind: "chat"; readonly messages: readonly ChatMessage[]; readonly line: number };

/**
 * Reads a file of chats or plain text, an entry at a time.
 *
 * @throws {InvalidFile} naming the file, and the first line that is none of the known forms
 */
export async function* readTextEntries(path: string): AsyncGenerator<TextEntry> {
  const ending = extname(path);
  if (ending !== ".txt" && ending !== ".jsonl")
    throw new InvalidFile(path, `a set of texts is a .jsonl or a .txt file, not "${ending}"`);
  const content = await readFile(path, "utf8").catch((cause: Error) => {
    throw new InvalidFile(path, cause.message, { cause });
  });
  if (ending === ".txt") {
    yield { kind: "text", text: content, line: 1 };
    return;
  }
  for (const [index, line] of content.split("\n").entries()) {
    if (line.trim() !== "") yield parseEntry(path, line, index + 1);
  }
}

/** An error about a line of a set, which counts from 1. */
export function invalidLine(path: string, line: number, problem: string, cause?: unknown): InvalidFile {
  return new InvalidFile(path, `line ${line} ${problem}`, { cause, details: { line } });
}

function parseEntry(path: string, text: string, line: number): TextEntry {
  let entry: unknown;
  try {
    entry = JSON.parse(text);
  } catch (cause) {
    throw invalidLine(path, line, `is not JSON (${(cause as Error).message})`, cause);
  }
  if (isRecord(entry) && typeof entry.text === "string") return { kind: "text", text: entry.text, line };
  if (isRecord(entry) && Array.isArray(entry.messages) && entry.messages.every(isMessage)) {
    const answer = typeof entry.answer === "string" ? [{ role: "assistant", content: entry.answer } as const] : [];
    const messages = [...entry.messages, ...answer];
    if (answer.length > 0 || (messages.at(-1)?.role === "assistant" && messages.length > 1))
      return { kind: "chat", messages, line };
  }
  const forms = '{"messages"} that end with the assistant\'s, {"messages", "answer"} or {"text"}';
  throw invalidLine(path, line, `is none of ${forms}: ${text.slice(0, 80)}`);
}

function isMessage(value: unknown): value is ChatMessage {
  return isRecord(value) && typeof value.role === "string" && typeof value.content === "string";
}
