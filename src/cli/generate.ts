import type { Command } from "commander";
import type { Prompt } from "../core/index.js";
import { untilInterrupted } from "./interrupt.js";
import { type EngineFlags, engineFlags, engineOptions, positiveInteger } from "./options.js";
import { openService } from "./wire.js";

interface Flags extends EngineFlags {
  readonly base: string;
  readonly variants?: string;
  readonly model?: string;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly seed?: number;
  readonly raw?: boolean;
}

export function register(program: Command): void {
  const command = program
    .command("generate")
    .description("complete one prompt on the terminal")
    .argument("<prompt>", "what to say to the model")
    .requiredOption("--base <path>", "a Hugging Face folder or a GGUF file")
    .option("--variants <folder>", "a folder of delta artifacts and PEFT adapters")
    .option("--model <name>", "the variant to ask; the base if not given")
    .option("--max-tokens <count>", "tokens at most", positiveInteger, 256)
    .option("--temperature <value>", "0 takes the likeliest token", Number, 0)
    .option("--seed <number>", "the same seed gives the same text", positiveInteger)
    .option("--raw", "continue the prompt as text instead of answering it as a chat message");
  engineFlags(command).action(generate);
}

async function generate(text: string, flags: Flags): Promise<void> {
  await using service = await openService({
    base: flags.base,
    variants: flags.variants,
    engine: engineOptions(flags, 1),
    inline: true,
  });
  const prompt: Prompt = flags.raw
    ? { kind: "text", text }
    : { kind: "chat", messages: [{ role: "user", content: text }] };
  const request = {
    model: flags.model ?? service.baseId,
    prompt,
    sampling: { temperature: flags.temperature, ...(flags.seed === undefined ? {} : { seed: flags.seed }) },
    maxTokens: flags.maxTokens,
    stop: [],
    topLogprobs: null,
  };
  await untilInterrupted(async (signal) => {
    try {
      for await (const event of service.completer.complete(request, signal)) {
        if (event.type === "text") process.stdout.write(event.text);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  });
  process.stdout.write("\n");
}
