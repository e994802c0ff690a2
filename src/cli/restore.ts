import type { Command } from "commander";
import { type Progress, type Restored, restoreCheckpoint } from "../delta/index.js";
import { openCheckpoint, openDelta } from "../formats/index.js";
import { untilInterrupted } from "./interrupt.js";
import { ProgressLine } from "./progress.js";

interface RestoreFlags {
  readonly base: string;
  readonly delta: string;
  readonly out: string;
  readonly exact?: true;
}

const outcomes: Readonly<Record<Restored, string>> = {
  approximation: "the variant as it is served",
  tensors: "every tensor as it was, bit for bit",
  file: "model.safetensors as it was, bit for bit",
};

/** Adds `kindred restore`. */
export function register(program: Command): void {
  program
    .command("restore")
    .description("write the variant that a delta describes as a Hugging Face folder")
    .requiredOption("--base <path>", "the base that the delta was made against")
    .requiredOption("--delta <folder>", "the delta artifact")
    .requiredOption("--out <folder>", "the Hugging Face folder to write")
    .option("--exact", "write the fine-tune itself, bit for bit, rather than what is served of it")
    .action(restore);
}

async function restore({ base: basePath, delta: deltaPath, out, exact }: RestoreFlags): Promise<void> {
  const restored = await untilInterrupted(async (signal) => {
    await using base = await openCheckpoint(basePath);
    await using delta = await openDelta(deltaPath);
    using line = new ProgressLine(`Restoring ${delta.name}`);
    const onProgress = (progress: Progress) => line.show(progress);
    return await restoreCheckpoint({ base, delta, out, exact: exact === true, signal, onProgress });
  });
  console.log(`Restored to ${out}: ${outcomes[restored]}`);
}
