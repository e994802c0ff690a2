import { availableParallelism } from "node:os";
import type { Command } from "commander";
import { InvalidRequest } from "../core/index.js";
import {
  type Allocation,
  allocate,
  codecs,
  compressDelta,
  createCodec,
  type DeltaCodec,
  type DeltaReport,
  type DistillationOptions,
  printReport,
  type Survey,
  type SurveyOptions,
  surveyForms,
} from "../delta/index.js";
import { type CodecOptions, checkFree, openCheckpoint } from "../formats/index.js";
import { formatBytes } from "../util/index.js";
import { byKind, type CalibrationText, readCalibration } from "./calibration-text.js";
import { untilInterrupted } from "./interrupt.js";
import { positiveInteger, positiveNumber } from "./options.js";
import { ProgressLine } from "./progress.js";
import { attemptOf, attemptsAt, compressToFloor, type QualityFloor } from "./quality-floor.js";

interface CompressFlags {
  readonly base: string;
  readonly tuned: string;
  readonly out: string;
  readonly codec: string;
  readonly planes?: string;
  readonly calibrate?: readonly string[];
  readonly distill?: number;
  readonly bits?: string;
  readonly rank?: string;
  readonly exact?: true;
  readonly targetBits?: number;
  readonly maxKld?: number;
  readonly check?: readonly string[];
  readonly force?: true;
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
    .option("--codec <name>", `how: auto, ${[...codecs.keys()].join(", ")}`, "sign")
    .option("--planes <count>", "planes, for codecs that have several")
    .option(
      "--calibrate <file...>",
      "chats (.jsonl) or text (.txt) of what it is for: takes minutes rather than seconds and loses less; auto looks at shipped text without",
    )
    .option(
      "--distill <steps>",
      "after that, train scales and norms on that text so many steps, against the fine-tune's own words",
      positiveInteger,
    )
    .option("--bits <number>", "bits a weight, for codecs with low-rank factors")
    .option("--rank <count>", "rank of every matrix's factors, instead of --bits")
    .option("--exact", "also store what restores the fine-tune bit for bit, beside the planes that are served")
    .option("--target-bits <number>", "for auto: what so many bits a weight on disk hold at best", positiveNumber)
    .option("--max-kld <nats>", "write it only if it diverges from the fine-tune by no more, a token", positiveNumber)
    .option("--check <file...>", "chats or text to measure that on; none that it is calibrated on")
    .option("--force", "write it even if it diverges by more, or seems to be no fine-tune of the base")
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
  calibrate,
  distill,
  exact,
  tensors,
  json,
  ...flags
}: CompressFlags): Promise<void> {
  const floor = floorOf(flags);
  const known = name === "auto" ? undefined : createCodec(name, codecOptions(flags));
  if (known && flags.targetBits) throw new InvalidRequest("target-bits", "--target-bits is for --codec auto");
  if (!known && !flags.targetBits && !floor) {
    throw new InvalidRequest("codec", "--codec auto needs an aim: --target-bits, or --max-kld with --check");
  }
  if (!known) refuseOptions(codecOptions(flags));
  await checkFree(out);
  const startedMs = performance.now();
  const { report, worst } = await untilInterrupted(async (signal) => {
    await using base = await openCheckpoint(basePath);
    await using tuned = await openCheckpoint(tunedPath);
    const calibration = calibrate || !known ? await readCalibration(tuned, calibrate ?? []) : undefined;
    if (distill && !calibration) throw new InvalidRequest("distill", "--distill needs text to train on: --calibrate");
    using line = new ProgressLine(`Compressing ${tuned.name}`);
    using training = new ProgressLine(`Distilling ${tuned.name}`);
    const make = (codec: DeltaCodec | Allocation, out: string) =>
      compressDelta({
        base,
        tuned,
        codec,
        exact: exact === true,
        force: flags.force === true,
        ...(calibration && { calibration }),
        ...(calibration && distill && { distillation: distillation(calibration, distill, training) }),
        out,
        signal,
        onProgress: (progress) => line.show(progress),
      });
    if (known) {
      if (!floor) return { report: await make(known, out), worst: undefined };
      return await compressToFloor({ base, tuned, out, attempts: attemptOf(known), floor, signal }, make);
    }
    const survey = await surveyed({
      base,
      tuned,
      texts: byKind(calibration!),
      force: flags.force === true,
      threads: availableParallelism(),
      signal,
    });
    const { targetBits: bitsMax } = flags;
    const aim = { ...(bitsMax && { bitsMax }) };
    const options = { ...(bitsMax && { bits: bitsMax }), ...(floor && { kld: floor.maxKl }) };
    if (!floor) return { report: await make(allocate(survey, options, aim), out), worst: undefined };
    const attempts = attemptsAt(survey, options, { ...aim, maxKl: floor.maxKl });
    return await compressToFloor({ base, tuned, out, attempts, floor, signal }, make);
  });
  if (json) {
    console.log(JSON.stringify({ ...report, ...(worst && { worst }) }, null, 2));
    return;
  }
  console.log(printReport(report, { tensors: tensors === true }));
  if (worst) console.log(`\ndiverges from the fine-tune by ${worst.kl.toPrecision(3)} nats a token on ${worst.set}`);
  console.log(`\n${summarise(report)}, in ${((performance.now() - startedMs) / 1000).toFixed(1)} s: ${out}`);
}

async function surveyed(options: Omit<SurveyOptions, "onProgress">): Promise<Survey> {
  using line = new ProgressLine(`Surveying ${options.tuned.name}`);
  const onProgress = (part: number) => line.showFraction(part, `${Math.floor(part * 100)}%`, part === 1);
  return await surveyForms({ ...options, onProgress });
}

/** @throws {InvalidRequest} if there is any: `auto` chooses them itself */
function refuseOptions(options: CodecOptions): void {
  const [name] = Object.keys(options);
  if (name) throw new InvalidRequest(name, `--codec auto chooses by itself: leave --${name} out`);
}

/** @throws {InvalidRequest} if one of the flags was given that mean nothing without the other */
function floorOf({
  maxKld,
  check,
  force,
}: Pick<CompressFlags, "maxKld" | "check" | "force">): QualityFloor | undefined {
  if (maxKld !== undefined && check) return { maxKl: maxKld, check, force: force === true };
  if (maxKld !== undefined) throw new InvalidRequest("max-kld", "--max-kld needs text to measure on: --check");
  if (check) throw new InvalidRequest("check", "--check goes with --max-kld");
  return undefined;
}

/** The options of a codec that were given; the codec says which it has. */
function codecOptions({ planes, bits, rank }: Pick<CompressFlags, "planes" | "bits" | "rank">): CodecOptions {
  return { ...(planes && { planes }), ...(bits && { bits }), ...(rank && { rank }) };
}

function distillation(samples: readonly CalibrationText[], steps: number, line: ProgressLine): DistillationOptions {
  return {
    samples,
    steps,
    onProgress: ({ step, heldOutLoss, secondsLeft }) => {
      const left = secondsLeft === null ? "" : `, ${Math.ceil(secondsLeft)} s left`;
      line.showFraction(
        step / steps,
        `step ${step} of ${steps}, divergence ${heldOutLoss.toFixed(5)}${left}`,
        step === steps,
      );
    },
  };
}

/** `18.0 MB instead of 269 MB (1/15.0), 18.2 MB resident, 2.25 bits a weight, relative error 0.330` */
export function summarise({ total, tunedBytes }: DeltaReport): string {
  const ratio = total.diskBytes === 0 ? "nothing" : `1/${(tunedBytes / total.diskBytes).toFixed(1)}`;
  const error = total.relativeError.toFixed(3);
  const size = `${formatBytes(total.diskBytes)} instead of ${formatBytes(tunedBytes)} (${ratio}), ${formatBytes(total.residentBytes)} resident`;
  return `${size}, ${total.bitsPerWeight.toFixed(2)} bits a weight, relative error ${error}`;
}
