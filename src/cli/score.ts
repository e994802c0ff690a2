import type { Command } from "commander";
import { type ChatMessage, type Completer, InvalidFile } from "../core/index.js";
import { invalidLine, readTextEntries } from "../text/index.js";
import { type EngineFlags, engineFlags, engineOptions, sequencesFlag } from "./options.js";
import { openService } from "./wire.js";

/** One thing to ask and the answer that counts as right. */
export interface ScoredItem {
  readonly messages: readonly ChatMessage[];
  readonly answer: string;
}

export interface Score {
  readonly items: number;
  readonly correct: number;
}

interface Flags extends EngineFlags {
  readonly sequences: number;
  readonly base: string;
  readonly variants?: string;
  readonly model?: readonly string[];
  readonly items: string;
  readonly json?: boolean;
}

export function register(program: Command): void {
  const command = program
    .command("score")
    .description("measure by exact match how well the base and its variants answer a file of questions")
    .requiredOption("--base <path>", "a Hugging Face folder or a GGUF file")
    .requiredOption("--items <file>", 'chats (.jsonl), {"messages": [{"role", "content"}], "answer"} a line')
    .option("--variants <folder>", "a folder of delta artifacts and PEFT adapters")
    .option("--model <name...>", "score these only")
    .option("--json", "print one JSON object");
  sequencesFlag(engineFlags(command)).action(score);
}

async function score(flags: Flags): Promise<void> {
  const items = await readItems(flags.items);
  await using service = await openService({
    base: flags.base,
    variants: flags.variants,
    engine: engineOptions(flags, flags.sequences),
    inline: true,
  });
  const models = flags.model ?? service.completer.models().map(({ id }) => id);
  const scores: Record<string, Score> = {};
  for (const model of models) {
    scores[model] = await scoreModel(service.completer, { model, items, concurrency: flags.sequences });
    if (!flags.json) console.log(formatScore(model, scores[model]));
  }
  if (flags.json) console.log(JSON.stringify(scores));
}

/** What is scored, and how many items at a time. */
export interface ScoreOptions {
  readonly model: string;
  readonly items: readonly ScoredItem[];
  readonly concurrency: number;
}

/** How many of all items {@link judgeAnswers} finds right. */
export async function scoreModel(completer: Completer, options: ScoreOptions): Promise<Score> {
  const verdicts = await judgeAnswers(completer, options);
  return { items: verdicts.length, correct: verdicts.filter((right) => right).length };
}

/** Whether one model's greedy answer to each item is right: equal to the letter, but for outer white space. */
export async function judgeAnswers(
  completer: Completer,
  { model, items, concurrency }: ScoreOptions,
): Promise<boolean[]> {
  const queue = items.entries();
  const verdicts: boolean[] = new Array(items.length).fill(false);
  const work = async () => {
    for (const [index, item] of queue) {
      const answer = await answerOf(completer, model, item);
      verdicts[index] = answer.trim() === item.answer.trim();
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  return verdicts;
}

/**
 * Reads the chats of a file as questions and their answers.
 *
 * @throws {InvalidFile} naming the first line that is no chat, or the file where there is none
 */
export async function readItems(path: string): Promise<ScoredItem[]> {
  const items: ScoredItem[] = [];
  for await (const entry of readTextEntries(path)) {
    if (entry.kind === "text") throw invalidLine(path, entry.line, "is plain text, which has no answer to be scored");
    items.push({ messages: entry.messages.slice(0, -1), answer: entry.messages.at(-1)!.content });
  }
  if (items.length === 0) throw new InvalidFile(path, "there is nothing to ask in it: it is empty");
  return items;
}

/** `"clinc 0.890 (267 of 300)"` */
function formatScore(model: string, { items, correct }: Score): string {
  return `${model} ${(correct / items).toFixed(3)} (${correct} of ${items})`;
}

async function answerOf(completer: Completer, model: string, item: ScoredItem): Promise<string> {
  const request = {
    model,
    prompt: { kind: "chat" as const, messages: item.messages },
    sampling: { temperature: 0 },
    // A model that does not stop by itself has not answered: twice the answer's length in characters is room enough for any tokens of it.
    maxTokens: 2 * item.answer.length + 8,
    stop: [],
    topLogprobs: null,
  };
  let text = "";
  for await (const event of completer.complete(request, new AbortController().signal)) {
    if (event.type === "text") text += event.text;
  }
  return text;
}
