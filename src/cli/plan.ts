import type { Command } from "commander";
import { planMemory } from "../engine/index.js";
import { memoryRows, printMemoryPlan } from "./memory-table.js";
import { type EngineFlags, engineOptions, formFlags, memoryFlags, pinFlag, sequencesFlag } from "./options.js";
import { findVariants } from "./wire.js";

interface PlanFlags extends Omit<EngineFlags, "threads"> {
  readonly base: string;
  readonly variants?: string;
  readonly sequences: number;
  readonly pin?: readonly string[];
  readonly json?: true;
}

/** Adds `kindred plan`. */
export function register(program: Command): void {
  const command = program
    .command("plan")
    .description("say how memory would be divided, and how many variants fit, without starting")
    .requiredOption("--base <path>", "a Hugging Face folder or a GGUF file")
    .option("--variants <folder>", "a folder whose subfolders are delta artifacts or PEFT adapters")
    .option("--json", "print it as JSON");
  pinFlag(sequencesFlag(memoryFlags(formFlags(command)))).action(plan);
}

async function plan(flags: PlanFlags): Promise<void> {
  const planned = await planMemory({
    ...engineOptions({ ...flags, threads: 1 }, flags.sequences),
    base: flags.base,
    variants: flags.variants ? await findVariants(flags.variants) : [],
    pinned: flags.pin ?? [],
  });
  console.log(
    flags.json ? JSON.stringify({ ...planned, rows: memoryRows(planned) }, null, 2) : printMemoryPlan(planned),
  );
}
