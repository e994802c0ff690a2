import { type Command, InvalidArgumentError, Option } from "commander";
import {
  type Arrivals,
  type Endpoint,
  type Lengths,
  type Popularity,
  parseArrivals,
  parseLengths,
  parsePopularity,
  type Slo,
} from "../load/index.js";
import { isRecord } from "../util/index.js";
import { type EngineFlags, engineFlags, positiveInteger, positiveNumber, sequencesFlag } from "./options.js";

/** What `kindred bench` is told. */
export interface BenchFlags extends EngineFlags {
  readonly sequences: number;
  readonly url?: string;
  readonly base?: string;
  readonly variants?: string;
  readonly model?: readonly string[];
  readonly apiKey?: readonly string[];
  readonly endpoint: Endpoint;
  readonly body?: Readonly<Record<string, unknown>>;
  readonly ignoreEos: boolean;
  readonly arrivals: Arrivals;
  readonly rate: number;
  readonly perModel?: true;
  readonly trace?: string;
  readonly speed?: number;
  readonly popularity: Popularity;
  readonly prompts?: string;
  readonly promptTokens: Lengths;
  readonly outputTokens: Lengths;
  readonly requests?: number;
  readonly duration?: number;
  readonly seed: number;
  readonly connections: number;
  readonly timeout: number;
  readonly slo: Slo;
  readonly json?: string;
  readonly csv?: string;
  readonly picture?: string;
}

/** Seconds of a drawn workload, where neither time nor number was given. */
export const durationSecondsDefault = 30;

/** Requests of a run at most, where no number was given. */
export const requestsMax = 1_000_000;

const explanation = `Requests go out at their times, whether or not those before them were answered. Of them:
  TTFT        from sending to the first output; cold where the request waited for its variant to be loaded
  TPOT        time per output token after the first
  ITL         between one piece of output and the next
  E2E         from sending to the last output
  sent late   what this client itself, or its limit of connections, put between a request's time and its sending

Arrivals:
  poisson            independent of each other
  gamma:CV           gaps of this coefficient of variation: clusters above 1
  bursts:ON,OFF      Poisson for ON seconds, nothing for OFF, in the mean
  ou:SPREAD,SECONDS  Poisson at a rate that wanders by SPREAD and forgets in SECONDS
Lengths are quantiles at equal steps: 128 is always 128, 10,40,900 has 40 as its median.
A trace is a .csv or .jsonl file with at_seconds, and model, prompt_tokens, output_tokens where it has them, as --csv writes; or one
of Azure's LLM inference traces, Alibaba's GenTD26, BurstGPT or Mooncake. What it does not say is drawn.`;

/** Adds `kindred bench`'s flags to its command. */
export function benchFlags(command: Command): Command {
  command
    .addOption(
      new Option("--url <url>", "where a server's API begins, such as http://127.0.0.1:8000/v1").conflicts([
        "base",
        "variants",
      ]),
    )
    .option("--base <path>", "serve this base for the time of the run: a Hugging Face folder or a GGUF file")
    .option("--variants <folder>", "and the delta artifacts and PEFT adapters in this folder")
    .option("--model <name...>", "ask these, the most popular first (default: all variants that the server lists)")
    .option("--api-key <key...>", "one a client, which send in turns")
    .addOption(new Option("--endpoint <api>", "which API to ask").choices(["chat", "completions"]).default("chat"))
    .option(
      "--no-ignore-eos",
      "let answers end before their length (default: Kindred is asked for all of it; give vLLM a --body for that)",
    )
    .option("--body <json>", 'more fields of every request, such as {"ignore_eos": true}', jsonObject)
    .addOption(
      new Option("--arrivals <process>", "how requests come")
        .argParser(notation(parseArrivals))
        .default({ kind: "poisson" }, "poisson"),
    )
    .option("--rate <number>", "requests a second over all models", positiveNumber, 4)
    .option("--per-model", "every model has arrivals of its own, so that requests for one come together")
    .addOption(
      new Option("--trace <file>", "send the requests of a trace at their times").conflicts([
        "arrivals",
        "rate",
        "perModel",
      ]),
    )
    .option("--speed <factor>", "replay a trace so many times as fast (default: 1)", positiveNumber)
    .addOption(
      new Option("--popularity <kind>", "zipf:EXPONENT, uniform, distinct (each in turn) or single")
        .argParser(notation(parsePopularity))
        .default({ kind: "zipf", exponent: 1 }, "zipf:1"),
    )
    .addOption(
      new Option(
        "--prompts <file>",
        "chats or texts to send, as kindred score reads them (default: random words)",
      ).conflicts("promptTokens"),
    )
    .addOption(
      new Option("--prompt-tokens <lengths>", "tokens of prompts")
        .argParser(notation(parseLengths))
        .default([128], "128"),
    )
    .addOption(
      new Option("--output-tokens <lengths>", "tokens of answers at most")
        .argParser(notation(parseLengths))
        .default([64], "64"),
    )
    .option("--requests <count>", `end after so many (default: ${requestsMax})`, positiveInteger)
    .option(
      "--duration <seconds>",
      `end after so long (default: ${durationSecondsDefault}, or the whole trace)`,
      positiveNumber,
    )
    .option("--seed <number>", "the same seed draws the same workload", seed, 0)
    .option(
      "--connections <count>",
      "requests under way at most; later ones wait and are counted",
      positiveInteger,
      1024,
    )
    .option("--timeout <seconds>", "a request that takes longer has failed", positiveNumber, 600)
    .addOption(
      new Option("--slo <limits>", "limits in milliseconds that good requests keep, such as ttft=500,tpot=50,e2e=5000")
        .argParser(slo)
        .default({}, "none"),
    )
    .option("--json <file>", "write everything that was measured")
    .option("--csv <file>", "write a row a request")
    .option("--picture <file>", "draw it, as SVG: time to first token, and how many requests kept the limits")
    .addHelpText("after", `\n${explanation}`);
  return sequencesFlag(engineFlags(command));
}

/** A parser of flags from one that answers undefined where it does not understand. */
function notation<T>(parse: (text: string) => T | undefined): (text: string) => T {
  return (text) => {
    const value = parse(text);
    if (value === undefined) throw new InvalidArgumentError("see the end of --help for what it may be");
    return value;
  };
}

function slo(text: string): Slo {
  const limits = text.split(",").map((part) => /^(ttft|tpot|e2e)=(\d+(?:\.\d+)?)$/.exec(part.trim()));
  if (!limits.every((match) => match !== null)) throw new InvalidArgumentError("expected ttft=MS, tpot=MS or e2e=MS");
  return Object.fromEntries(limits.map((match) => [`${match[1]}Ms`, Number(match[2])]));
}

function seed(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** 32)
    throw new InvalidArgumentError("expected an integer from 0 to 4294967295");
  return value;
}

function jsonObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    if (isRecord(value)) return value;
  } catch {
    // said below
  }
  throw new InvalidArgumentError("expected a JSON object");
}
