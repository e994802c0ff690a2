import type { Command } from "commander";
import { codecs, compressDelta, createCodec, type DeltaReport, type Progress, printReport } from "../delta/index.js";
import { openCheckpoint } from "../formats/index.js";
import { formatBytes } from "../util/index.js";
import { untilInterrupted } from "./interrupt.js";
import { ProgressLine } from "./progress.js";

interface CompressFlags {
  readonly base: string;
  readonly tuned: string;
  readonly out: string;
  readonly codec: string;
  readonly planes?: string;
  readonly exact?: true;
  readonly tensors?: true;
  readonly json?: true;
}

/** Adds `kindred compress`. */
export function register(program: Command): void {
  program
    .command("compress")
    .description("compress a full fine-tune to its difference from a base")
    .requiredOption("--base <path>", "the base: a Hugging Face folder or a GGUF file")
    .requiredOption("--tuned <path>", "the fine-tune of it")
    .requiredOption("--out <folder>", "the delta artifact to write")
    .option("--codec <name>", `how: ${[...codecs.keys()].join(", ")}`, "sign")
    .option("--planes <count>", "planes, for codecs that have several")
    .option("--exact", "also store what restores the fine-tune bit for bit, beside the planes that are served")
    .option("--tensors", "report every tensor rather than groups of them")
    .option("--json", "print the report as JSON")
    .addHelpText(
      "after",
      `\nCodecs:\n${[...codecs.values()].map(({ name, summary }) => `  ${name.padEnd(10)}${summary}`).join("\n")}`,
    )
    .action(compress);
}

async function compress({
  base: basePath,
  tuned: tunedPath,
  out,
  codec: name,
  planes,
  exact,
  tensors,
  json,
}: CompressFlags): Promise<void> {
  const codec = createCodec(name, planes === undefined ? {} : { planes });
  const startedMs = performance.now();
  const report = await untilInterrupted(async (signal) => {
    await using base = await openCheckpoint(basePath);
    await using tuned = await openCheckpoint(tunedPath);
    using line = new ProgressLine(`Compressing ${tuned.name}`);
    const onProgress = (progress: Progress) => line.show(progress);
    return await compressDelta({ base, tuned, codec, exact: exact === true, out, signal, onProgress });
  });
  if (json) {
    console.log(JSON.stringify(report, null, 2));
    return;
  }
  console.log(printReport(report, { tensors: tensors === true }));
  console.log(`\n${summarise(report)}, in ${((performance.now() - startedMs) / 1000).toFixed(1)} s: ${out}`);
}

/** `18.0 MB instead of 269 MB (1/15.0), 18.2 MB resident, 2.25 bits a weight, relative error 0.330` */
export function summarise({ total, tunedBytes }: DeltaReport): string {
  const ratio = total.diskBytes === 0 ? "nothing" : `1/${(tunedBytes / total.diskBytes).toFixed(1)}`;
  const error = total.relativeError.toFixed(3);
  const size = `${formatBytes(total.diskBytes)} instead of ${formatBytes(tunedBytes)} (${ratio}), ${formatBytes(total.residentBytes)} resident`;
  return `${size}, ${total.bitsPerWeight.toFixed(2)} bits a weight, relative error ${error}`;
}
