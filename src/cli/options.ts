import { type Command, InvalidArgumentError, Option } from "commander";
import { defaultEngineOptions, type EngineOptions, memoryShare } from "../engine/index.js";
import { kvDTypes } from "../model/index.js";
import { parseBytes } from "../util/index.js";

/** What commands that compute let one choose about where and in what precision. */
export interface DeviceFlags {
  readonly device: EngineOptions["device"];
  readonly threads: number;
  readonly baseDtype: EngineOptions["baseDType"];
  readonly kvDtype: EngineOptions["kvDType"];
}

/** What commands that run a model let one choose about its engine. */
export interface EngineFlags extends DeviceFlags {
  readonly context: number;
  readonly memory?: number;
}

const defaults = defaultEngineOptions;

/** Adds flags for where to compute, with how many threads, and in what precision. */
export function deviceFlags(command: Command): Command {
  return formFlags(command).option("--threads <count>", "threads that compute", positiveInteger, defaults.threads);
}

/** Adds flags for where a model is held and in what precision. */
export function formFlags(command: Command): Command {
  const choice = (flags: string, text: string, choices: readonly string[], value: string) =>
    command.addOption(new Option(flags, text).choices(choices).default(value));
  choice("--device <kind>", "where to compute", ["cpu", "cuda", "vulkan", "metal"], defaults.device);
  choice(
    "--base-dtype <dtype>",
    "how the base's matrices are held; auto is as stored for a quantised GGUF, else q8_0, or 16 bits below 1 B parameters",
    ["auto", "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k"],
    defaults.baseDType,
  );
  choice("--kv-dtype <dtype>", "how keys and values are held", kvDTypes, defaults.kvDType);
  return command;
}

/** Adds all of the engine's flags to a command. */
export function engineFlags(command: Command): Command {
  return memoryFlags(deviceFlags(command));
}

/** Adds flags for how much memory there is and what a request may take of it. */
export function memoryFlags(command: Command): Command {
  return command
    .option(
      "--context <tokens>",
      "tokens a request may have, prompt and completion",
      positiveInteger,
      defaults.contextLength,
    )
    .option(
      "--memory <bytes>",
      `for the engine in all, weights, requests and variants, e.g. 8GB (default: ${100 * memoryShare} % of what is free)`,
      byteCount,
    );
}

/** Adds the flag of commands that run many requests at once. */
export function sequencesFlag(command: Command): Command {
  return command.option("--sequences <count>", "requests that run at once", positiveInteger, defaults.sequences);
}

/** Adds the flag of commands that hold many variants. */
export function pinFlag(command: Command): Command {
  return command.option("--pin <name...>", "variants that are always resident, loaded at the start");
}

/** Flags → the options an engine starts with. */
export function engineOptions(flags: EngineFlags, sequences: number): Omit<EngineOptions, "base" | "variants"> {
  return {
    ...defaults,
    device: flags.device,
    threads: flags.threads,
    baseDType: flags.baseDtype,
    kvDType: flags.kvDtype,
    contextLength: flags.context,
    sequences,
    memoryBytes: flags.memory ?? null,
  };
}

/** Parses a flag's value; commander prints what was expected when it is not that. */
export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError("expected a positive integer");
  return value;
}

export function positiveNumber(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError("expected a positive number");
  return value;
}

export function byteCount(text: string): number {
  const bytes = parseBytes(text);
  if (bytes === undefined) throw new InvalidArgumentError("expected bytes, such as 512MB or 1.5GiB");
  return bytes;
}
