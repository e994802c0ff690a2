import type { Command } from "commander";
import { printReport, reportOf } from "../delta/index.js";
import { type DeltaArtifact, openDelta } from "../formats/index.js";
import { summarise } from "./compress.js";

interface InspectFlags {
  readonly tensors?: true;
  readonly json?: true;
}

/** Adds `kindred inspect`. */
export function register(program: Command): void {
  program
    .command("inspect")
    .description("show what a delta artifact holds")
    .argument("<delta>", "a folder that `kindred compress` wrote")
    .option("--tensors", "show every tensor rather than groups of them")
    .option("--json", "print it as JSON")
    .action(inspect);
}

async function inspect(path: string, { tensors, json }: InspectFlags): Promise<void> {
  await using artifact = await openDelta(path);
  const report = reportOf(artifact);
  if (json) {
    console.log(JSON.stringify({ ...report, config: artifact.config, text: Object.keys(artifact.text) }, null, 2));
    return;
  }
  console.log(`${describe(artifact)}\n`);
  console.log(printReport(report, { tensors: tensors === true }));
  console.log(`\n${summarise(report)}`);
}

function describe({ name, base, codec, config, text }: DeltaArtifact): string {
  const options = Object.entries(codec.options).map(([option, value]) => `, ${option} ${value}`);
  const own = Object.keys(text);
  return [
    `variant   ${name}: ${config.architecture}, ${config.layers} layers of ${config.hiddenSize}, vocabulary ${config.vocabSize}`,
    `base      ${base.name} (sha256 ${base.fingerprint.slice(0, 12)})`,
    `codec     ${codec.name}${options.join("")}`,
    `its own   ${own.length > 0 ? own.join(", ") : "no text files: tokenizer and template are the base's"}`,
  ].join("\n");
}
