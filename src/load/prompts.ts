import { type ChatMessage, InvalidFile, type Prompt } from "../core/index.js";
import { invalidLine, readTextEntries } from "../text/index.js";
import { Dice } from "./dice.js";
import type { Target, TargetRequest } from "./target.js";
import { type PlannedRequest, streams } from "./workload.js";

/** Which of OpenAI's APIs is asked. */
export type Endpoint = "chat" | "completions";

/** What requests say. Asked for the prompts of a workload in order. */
export type PromptSource = (planned: PlannedRequest) => TargetRequest["prompt"];

/**
 * Prompts from a file of chats or texts, drawn at random. Of a chat, what comes before its answer is the prompt; a text is one
 * message to a chat endpoint.
 *
 * @throws {InvalidFile} naming the first line that cannot be asked
 */
export async function promptsOf(path: string, endpoint: Endpoint, seed: number): Promise<PromptSource> {
  const prompts: TargetRequest["prompt"][] = [];
  for await (const entry of readTextEntries(path)) {
    if (entry.kind === "text") prompts.push(asked(entry.text, endpoint));
    else if (endpoint === "chat") prompts.push({ kind: "chat", messages: entry.messages.slice(0, -1) });
    else throw invalidLine(path, entry.line, "is a chat, which the completions endpoint does not take");
  }
  if (prompts.length === 0) throw new InvalidFile(path, "there is nothing to ask in it: it is empty");
  const dice = new Dice(seed, streams.texts);
  return () => prompts[Math.floor(dice.uniform() * prompts.length)]!;
}

/** How long a text gets in a server's tokens. */
export interface TextScale {
  readonly tokensPerWord: number;
  /** What the chat template and special tokens add. */
  readonly tokensAround: number;
}

/** Prompts of random words, of as many tokens as the workload has them. No two share a beginning that is worth keeping. */
export function syntheticPrompts(scale: TextScale, endpoint: Endpoint, seed: number): PromptSource {
  const dice = new Dice(seed, streams.texts);
  return ({ promptTokens }) => {
    const count = Math.max(1, Math.round((promptTokens - scale.tokensAround) / scale.tokensPerWord));
    return asked(randomWords(count, dice), endpoint);
  };
}

/** Two lengths, in words, whose tokens show what a word takes and what is around them. */
const probeWords = { short: 16, long: 112 } as const;

/**
 * Asks a server how many tokens words have, with two short requests to `model`. A server that does not count takes a word as a token.
 *
 * @throws {RequestFailed} when it does not answer
 */
export async function measureText(
  target: Target,
  model: string,
  endpoint: Endpoint,
  signal: AbortSignal,
): Promise<TextScale> {
  const tokensOf = async (words: number): Promise<number | undefined> => {
    const prompt = asked(randomWords(words, new Dice(0, streams.texts)), endpoint);
    let tokens: number | undefined;
    for await (const event of target.complete({ model, prompt, maxTokens: 1, client: 0 }, signal))
      if (event.type === "usage") tokens = event.promptTokens;
    return tokens;
  };
  const short = await tokensOf(probeWords.short);
  const long = await tokensOf(probeWords.long);
  if (short === undefined || long === undefined || long <= short) return { tokensPerWord: 1, tokensAround: 0 };
  const tokensPerWord = (long - short) / (probeWords.long - probeWords.short);
  return { tokensPerWord, tokensAround: Math.max(0, short - tokensPerWord * probeWords.short) };
}

function asked(text: string, endpoint: Endpoint): Exclude<Prompt, { kind: "tokens" }> {
  const message: ChatMessage = { role: "user", content: text };
  return endpoint === "chat" ? { kind: "chat", messages: [message] } : { kind: "text", text };
}

/** Common words, which most vocabularies have whole. */
const words =
  "time year people way day man thing woman life child world school state family student group country problem hand part place case week company system program question work number night point home water room mother area money story fact month lot right study book eye job word business issue side kind head house service friend father power hour game line end member law car city name team minute idea body back parent face level office door health person art war history party result change morning reason girl boy food".split(
    " ",
  );

function randomWords(count: number, dice: Dice): string {
  return Array.from({ length: count }, () => words[Math.floor(dice.uniform() * words.length)]!).join(" ");
}
