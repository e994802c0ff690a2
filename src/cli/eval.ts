import { writeFile } from "node:fs/promises";
import { basename, resolve } from "node:path";
import type { Command } from "commander";
import { defaultEngineOptions } from "../engine/index.js";
import { openCheckpoint } from "../formats/index.js";
import { drawEvaluation, evaluate, printEvaluation } from "../quality/index.js";
import { untilInterrupted } from "./interrupt.js";
import { type DeviceFlags, deviceFlags, positiveInteger } from "./options.js";
import { ProgressLine } from "./progress.js";

interface EvalFlags extends DeviceFlags {
  readonly base: string;
  readonly tuned: string;
  readonly delta: readonly string[];
  readonly data: readonly string[];
  readonly items?: number;
  readonly tokens?: number;
  readonly json?: string;
  readonly picture?: string;
}

const explanation = `Of every delta, and of the base, which recovers nothing:
  KL          divergence of its next-token distribution from the fine-tune's, in nats a token, over answers or text
  top-1       share of positions at which both find the same token likeliest
  recovered   1 - KL / KL of the base
  identical   share of greedy answers that are the fine-tune's, token for token
  accuracy    share of greedy answers that are the reference
  points      accuracy less the fine-tune's, in points, with Newcombe's 95 % interval for pairs; items lost and won`;

/** Adds `kindred eval`. */
export function register(program: Command): void {
  const command = program
    .command("eval")
    .description("measure how close deltas come to their fine-tune, on chats and on plain text")
    .requiredOption("--base <path>", "the base: a Hugging Face folder or a GGUF file")
    .requiredOption("--tuned <path>", "the full fine-tune, which everything is held against")
    .requiredOption("--delta <folder...>", "delta artifacts of it")
    .requiredOption(
      "--data <file...>",
      'JSON lines of {"messages"} that end with the answer, {"messages", "answer"} or {"text"}; or a .txt file',
    )
    .option("--items <count>", "chats to take of each file (default: all)", positiveInteger)
    .option("--tokens <count>", "tokens of plain text to take of each file (default: all)", positiveInteger)
    .option("--json <file>", "write everything that was measured")
    .option("--picture <file>", "draw it, as SVG: bytes against divergence, and the error of every layer")
    .addHelpText("after", `\n${explanation}`);
  deviceFlags(command).action(evaluateDeltas);
}

async function evaluateDeltas(flags: EvalFlags): Promise<void> {
  const evaluation = await untilInterrupted(async (signal) => {
    await using base = await openCheckpoint(flags.base);
    await using tuned = await openCheckpoint(flags.tuned);
    using line = new ProgressLine(`Evaluating ${tuned.name}`);
    return await evaluate({
      base,
      tuned,
      deltas: namedApart(flags.delta),
      data: flags.data,
      ...(flags.items === undefined ? {} : { chatsMax: flags.items }),
      ...(flags.tokens === undefined ? {} : { textTokensMax: flags.tokens }),
      engine: {
        device: flags.device,
        threads: flags.threads,
        baseDType: flags.baseDtype,
        kvDType: flags.kvDtype,
        sequences: defaultEngineOptions.sequences,
      },
      signal,
      onProgress: ({ tokensDone, tokensTotal }) =>
        line.showFraction(
          tokensDone / tokensTotal,
          `${tokensDone} of ${tokensTotal} tokens`,
          tokensDone === tokensTotal,
        ),
    });
  });
  if (flags.json) await writeFile(flags.json, `${JSON.stringify(evaluation, null, 1)}\n`);
  if (flags.picture) await writeFile(flags.picture, drawEvaluation(evaluation));
  console.log(printEvaluation(evaluation));
}

/** Artifacts by their folders' names, or by their whole paths where two folders have one name. */
function namedApart(paths: readonly string[]): { name: string; path: string }[] {
  const nameOf = (path: string) => basename(resolve(path));
  return paths.map((path) => {
    const isShared = paths.filter((other) => nameOf(other) === nameOf(path)).length > 1;
    return { name: isShared ? path : nameOf(path), path };
  });
}
