import { createInterface } from "node:readline/promises";
import { styleText } from "node:util";
import type { Command } from "commander";
import { type ChatMessage, KindredError } from "../core/index.js";
import { type EngineFlags, engineFlags, engineOptions } from "./options.js";
import { openService, type Service } from "./wire.js";

interface Flags extends EngineFlags {
  readonly base: string;
  readonly variants?: string;
  readonly model?: string;
}

const help =
  "/model NAME asks another variant, /models lists them, /new forgets the conversation, /bye leaves; Ctrl-C stops an answer";

export function register(program: Command): void {
  const command = program
    .command("chat")
    .description("talk to the base and its variants on the terminal")
    .requiredOption("--base <path>", "a Hugging Face folder or a GGUF file")
    .option("--variants <folder>", "a folder of delta artifacts and PEFT adapters")
    .option("--model <name>", "whom to ask first; the base if not given");
  engineFlags(command).action(chat);
}

async function chat(flags: Flags): Promise<void> {
  await using service = await openService({
    base: flags.base,
    variants: flags.variants,
    engine: engineOptions(flags, 1),
    inline: true,
  });
  let model = flags.model ?? service.baseId;
  let messages: ChatMessage[] = [];
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  process.stdout.write(`${styleText("dim", help)}\n`);
  const prompt = () => {
    terminal.setPrompt(`${styleText("bold", model)} > `);
    terminal.prompt();
  };
  prompt();
  for await (const line of terminal) {
    const [word, name] = line.trim().split(/\s+/);
    if (word === "/bye") break;
    if (word === "/new") messages = [];
    else if (word === "/models")
      process.stdout.write(
        `${service.completer
          .models()
          .map(({ id }) => id)
          .join("\n")}\n`,
      );
    else if (word === "/model" && name) {
      const known = service.completer.models().some(({ id }) => id === name);
      if (known) [model, messages] = [name, []];
      else process.stdout.write(`There is no ${name}; /models lists what there is\n`);
    } else if (word?.startsWith("/")) process.stdout.write(`${help}\n`);
    else if (word) messages = await answer(service, model, [...messages, { role: "user", content: line }], terminal);
    prompt();
  }
  terminal.close();
}

/** Streams one answer; returns the conversation with it, or without the question when that failed. */
async function answer(
  service: Service,
  model: string,
  messages: readonly ChatMessage[],
  terminal: {
    once(event: "SIGINT", listener: () => void): unknown;
    off(event: "SIGINT", listener: () => void): unknown;
  },
): Promise<ChatMessage[]> {
  const interrupt = new AbortController();
  const stop = () => interrupt.abort();
  terminal.once("SIGINT", stop);
  let text = "";
  try {
    const request = {
      model,
      prompt: { kind: "chat" as const, messages },
      sampling: {},
      maxTokens: null,
      stop: [],
      topLogprobs: null,
    };
    for await (const event of service.completer.complete(request, interrupt.signal)) {
      if (event.type !== "text") continue;
      text += event.text;
      process.stdout.write(event.text);
    }
  } catch (error) {
    if (interrupt.signal.aborted) process.stdout.write(styleText("dim", " (stopped)"));
    else if (error instanceof KindredError) {
      process.stdout.write(`${styleText("red", error.message)}\n`);
      return messages.slice(0, -1);
    } else throw error;
  } finally {
    terminal.off("SIGINT", stop);
    process.stdout.write("\n");
  }
  return [...messages, { role: "assistant", content: text }];
}
