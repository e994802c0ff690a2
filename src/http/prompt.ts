import type { ChatMessage, Prompt } from "../core/index.js";
import { Fields, invalid } from "./fields.js";
import { messageNeutralValues, refuseUnsupported, unsupported } from "./unsupported.js";

/** OpenAI's roles as chat templates know them; "developer" is its newer word for "system". */
const templateRoles = new Map([
  ["system", "system"],
  ["developer", "system"],
  ["user", "user"],
  ["assistant", "assistant"],
]);

/**
 * Reads `messages`. A message's `name` is not read: chat templates have no place for it.
 *
 * @throws {InvalidRequest} naming the message and the field
 */
export function parseMessages(body: Fields): ChatMessage[] {
  const messages = body.value("messages");
  if (!Array.isArray(messages) || messages.length === 0) {
    throw body.unexpected("messages", "an array of at least one message");
  }
  return messages.map((message, at) => parseMessage(new Fields(message, `messages[${at}]`)));
}

function parseMessage(message: Fields): ChatMessage {
  refuseUnsupported(message, messageNeutralValues);
  return { role: parseRole(message), content: parseContent(message) };
}

function parseRole(message: Fields): string {
  const role = message.value("role");
  if (role === "tool" || role === "function") {
    throw unsupported(
      message.path("role"),
      `${message.path("role")} is "${role}", and this server does not call tools`,
    );
  }
  const known = typeof role === "string" ? templateRoles.get(role) : undefined;
  if (known === undefined) throw message.unexpected("role", '"system", "developer", "user" or "assistant"');
  return known;
}

/** A string, or text parts, which follow each other without a separator. */
function parseContent(message: Fields): string {
  const content = message.value("content");
  if (typeof content === "string") return content;
  if (!Array.isArray(content) || content.length === 0) {
    throw message.unexpected("content", "a string or an array of at least one text part");
  }
  return content.map((part, at) => parsePart(new Fields(part, `${message.path("content")}[${at}]`))).join("");
}

function parsePart(part: Fields): string {
  const type = part.value("type");
  if (typeof type !== "string") throw part.unexpected("type", '"text"');
  if (type !== "text") {
    throw unsupported(part.path("type"), `${part.path("type")} is "${type}", and this server reads text parts only`);
  }
  const text = part.value("text");
  if (typeof text !== "string") throw part.unexpected("text", "a string");
  return text;
}

/**
 * Reads `prompt`: a text, several texts, token ids, or several lists of token ids.
 *
 * @returns the prompts, at least one
 * @throws {InvalidRequest} naming the prompt that is none of these
 */
export function parsePrompts(body: Fields): Prompt[] {
  const prompt = body.value("prompt");
  if (typeof prompt === "string") return [{ kind: "text", text: prompt }];
  if (isTokens(prompt)) return [{ kind: "tokens", tokens: prompt }];
  if (!Array.isArray(prompt) || prompt.length === 0) {
    throw body.unexpected("prompt", "a string, an array of strings, token ids or an array of token id arrays");
  }
  return prompt.map((item, at) => {
    const tokens = typeof prompt[0] !== "string";
    if (tokens && isTokens(item)) return { kind: "tokens", tokens: item };
    if (!tokens && typeof item === "string") return { kind: "text", text: item };
    throw invalid(
      `prompt[${at}]`,
      `prompt[${at}]: expected ${tokens ? "token ids, at least one and each ≥ 0" : "a string"}`,
    );
  });
}

function isTokens(value: unknown): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every((token) => Number.isSafeInteger(token) && token >= 0);
}
