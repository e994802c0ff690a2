import { availableParallelism, tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import {
  type Arrivals,
  type Lengths,
  type Popularity,
  parseArrivals,
  parseLengths,
  parsePopularity,
  type Slo,
} from "../src/load/index.js";

import type { BaseDType } from "../src/model/index.js";

/** What may be compared: requests for some variants against swapping them, and very many variants in little memory. */
export const scenarios = ["zipf", "crowd"] as const;
export type Scenario = (typeof scenarios)[number];

/** What a scenario is told. */
export interface ServingFlags {
  readonly base: string;
  readonly variants: string;
  readonly count: number;
  readonly resident: number;
  readonly arrivals: Arrivals;
  readonly popularity: Popularity;
  readonly trace: string | undefined;
  readonly speed: number;
  /** Requests a second, one run for each; the crowd has one. */
  readonly rates: readonly number[];
  readonly seconds: number;
  readonly clients: number;
  readonly prompt: Lengths;
  readonly output: Lengths;
  readonly seed: number;
  readonly slo: Slo;
  readonly sequences: number;
  readonly context: number;
  readonly threads: number;
  readonly rounds: number;
  readonly baseDType: BaseDType;
  /** Models may end their answers before the length that was asked for. */
  readonly hasNaturalEnds: boolean;
  /** What is loaded is read from the disk each time. */
  readonly isUncached: boolean;
  /** A GGUF file for llama.cpp's side. */
  readonly llama: string | undefined;
  readonly work: string;
  readonly json: string | undefined;
  readonly picture: string | undefined;
}

const text = { type: "string" } as const;
const { values: given } = parseArgs({
  options: {
    scenario: text,
    soak: text,
    base: text,
    variants: text,
    count: text,
    resident: text,
    arrivals: text,
    popularity: text,
    trace: text,
    speed: text,
    rate: text,
    seconds: text,
    clients: text,
    prompt: text,
    output: text,
    seed: text,
    ttft: text,
    tpot: text,
    sequences: text,
    context: text,
    threads: text,
    rounds: text,
    "base-dtype": text,
    llama: text,
    uncached: { type: "boolean", default: false },
    "natural-ends": { type: "boolean", default: false },
    work: text,
    json: text,
    picture: text,
  },
});

/** Forms of the base that are worth a comparison. */
const baseDTypes: readonly BaseDType[] = ["auto", "f16", "bf16", "q8_0", "q4_0"];

type Name = Exclude<keyof typeof given, "uncached" | "natural-ends">;

const shared: Partial<Record<Name, string>> = {
  base: "models/tiny/base",
  variants: "models/tiny/variants",
  resident: "4",
  popularity: "zipf:1",
  speed: "1",
  seconds: "20",
  prompt: "64",
  output: "8,32",
  seed: "1",
  ttft: "1000",
  tpot: "100",
  sequences: "16",
  context: "512",
  threads: String(Math.max(1, availableParallelism() - 1)),
  rounds: "5",
  "base-dtype": "auto",
  work: path.join(tmpdir(), "kindred-serving"),
};

const defaults: Readonly<Record<Scenario, Partial<Record<Name, string>>>> = {
  zipf: { ...shared, count: "32", arrivals: "poisson", rate: "20", clients: "1" },
  crowd: { ...shared, count: "500", arrivals: "gamma:4", rate: "10", clients: "4" },
};

/** The scenario that was asked for, or all. */
export function chosenScenarios(): readonly Scenario[] {
  const chosen = scenarios.find((scenario) => scenario === given.scenario);
  if (given.scenario !== undefined && !chosen)
    throw new Error(`--scenario is one of ${scenarios.join(", ")}, not "${given.scenario}"`);
  return chosen ? [chosen] : scenarios;
}

/** For how many seconds to soak, where that was asked for. */
export function soakSeconds(): number | undefined {
  return given.soak === undefined ? undefined : positive("soak", given.soak);
}

/** The flags of one scenario; those left out are the scenario's own. */
export function servingFlags(scenario: Scenario): ServingFlags {
  const flag = (name: Name) => given[name] ?? defaults[scenario][name]!;
  const number = (name: Name) => positive(name, flag(name));
  const notation = <T>(name: Name, parse: (text: string) => T | undefined): T => {
    const value = parse(flag(name));
    if (value === undefined)
      throw new Error(`--${name} does not know "${flag(name)}"; bench/README.md says what it may be`);
    return value;
  };
  if (number("count") < 2) throw new Error("--count takes at least 2: variants are loaded in turns");
  return {
    base: flag("base"),
    variants: flag("variants"),
    count: number("count"),
    resident: number("resident"),
    arrivals: notation("arrivals", parseArrivals),
    popularity: notation("popularity", parsePopularity),
    trace: given.trace,
    speed: number("speed"),
    rates: ratesOf(scenario, flag("rate")),
    seconds: number("seconds"),
    clients: number("clients"),
    prompt: notation("prompt", parseLengths),
    output: notation("output", parseLengths),
    seed: number("seed"),
    slo: { ttftMs: number("ttft"), tpotMs: number("tpot") },
    sequences: number("sequences"),
    context: number("context"),
    threads: number("threads"),
    rounds: number("rounds"),
    baseDType: notation("base-dtype", (text) => baseDTypes.find((dtype) => dtype === text)),
    hasNaturalEnds: given["natural-ends"],
    isUncached: given.uncached,
    llama: given.llama,
    work: flag("work"),
    json: given.json,
    picture: given.picture && pictureFile(given.picture, scenario),
  };
}

/** Where more than one scenario is drawn, each has its name in that of its file. */
function pictureFile(file: string, scenario: Scenario): string {
  if (given.scenario !== undefined || given.soak !== undefined) return file;
  const { dir, name, ext } = path.parse(file);
  return path.join(dir, `${name}-${scenario}${ext}`);
}

function ratesOf(scenario: Scenario, list: string): readonly number[] {
  const rates = list.split(",").map((rate) => positive("rate", rate));
  if (rates.length > 1 && scenario !== "zipf")
    throw new Error(`--rate takes several rates in zipf only, got "${list}"`);
  if (rates.length > 1 && given.trace !== undefined)
    throw new Error("--rate takes one rate beside a trace, which has its own times");
  return rates;
}

function positive(name: string, value: string): number {
  const number = Number(value);
  if (!Number.isFinite(number) || number <= 0) throw new Error(`--${name} takes a positive number, got "${value}"`);
  return number;
}
