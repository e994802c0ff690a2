import type { Command } from "commander";
import { restoreCheckpoint } from "../delta/index.js";
import { openCheckpoint, openDelta } from "../formats/index.js";
import { untilInterrupted } from "./interrupt.js";
import { ProgressLine } from "./progress.js";

interface RestoreFlags {
  readonly base: string;
  readonly delta: string;
  readonly out: string;
}

/** Adds `kindred restore`. */
export function register(program: Command): void {
  program
    .command("restore")
    .description("write the variant that a delta describes as a Hugging Face folder")
    .requiredOption("--base <path>", "the base that the delta was made against")
    .requiredOption("--delta <folder>", "the delta artifact")
    .requiredOption("--out <folder>", "the Hugging Face folder to write")
    .action(restore);
}

async function restore({ base: basePath, delta: deltaPath, out }: RestoreFlags): Promise<void> {
  await untilInterrupted(async (signal) => {
    await using base = await openCheckpoint(basePath);
    await using delta = await openDelta(deltaPath);
    using line = new ProgressLine(`Restoring ${delta.name}`);
    await restoreCheckpoint({ base, delta, out, signal, onProgress: (progress) => line.show(progress) });
  });
  console.log(`Restored to ${out}`);
}
