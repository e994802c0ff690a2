import { unreachable } from "../util/index.js";
import type { Dice } from "./dice.js";

/** How requests come. Whatever the process, its rate in the long run is the one asked for. */
export type Arrivals =
  /** Gaps are exponential: nothing is known about the next from the last. */
  | { readonly kind: "poisson" }
  /** Gaps are gamma with this coefficient of variation; above 1 they come in clusters. */
  | { readonly kind: "gamma"; readonly cv: number }
  /** Poisson while on and nothing while off; the lengths of both are exponential with these means. */
  | { readonly kind: "bursts"; readonly onSeconds: number; readonly offSeconds: number }
  /**
   * Poisson with a wandering rate, `rate · exp(spread · z − spread² / 2)`; z is an Ornstein–Uhlenbeck process of variance 1 that
   * forgets in `memorySeconds`.
   */
  | { readonly kind: "ou"; readonly spread: number; readonly memorySeconds: number };

/** `"poisson"`, `"gamma:4"`, `"bursts:2,8"`, `"ou:0.25,300"` → arrivals; undefined when it is none of these. */
export function parseArrivals(text: string): Arrivals | undefined {
  const [kind, list = "", ...more] = text.split(":");
  const numbers = list === "" ? [] : list.split(",").map(Number);
  if (!numbers.every((value) => Number.isFinite(value) && value > 0) || more.length > 0) return undefined;
  const [first, second] = numbers;
  if (kind === "poisson" && first === undefined) return { kind };
  if (kind === "gamma" && numbers.length === 1) return { kind, cv: first! };
  if (numbers.length !== 2) return undefined;
  if (kind === "bursts") return { kind, onSeconds: first!, offSeconds: second! };
  return kind === "ou" ? { kind, spread: first!, memorySeconds: second! } : undefined;
}

/** Endless times in milliseconds from 0, ascending, at `rate` a second in the mean. */
export function arrivalTimes(arrivals: Arrivals, rate: number, dice: Dice): Generator<number> {
  switch (arrivals.kind) {
    case "poisson":
      return modulated(steady(rate), dice);
    case "gamma":
      return renewals(arrivals.cv, rate, dice);
    case "bursts":
      return modulated(onAndOff(arrivals, rate, dice), dice);
    case "ou":
      return modulated(wandering(arrivals, rate, dice), dice);
    default:
      return unreachable(arrivals);
  }
}

/** Gaps a renewal process runs before time 0, so that 0 falls into a gap as any other moment does. */
const gapsBefore = 4;

function* renewals(cv: number, rate: number, dice: Dice): Generator<number> {
  const shape = 1 / (cv * cv);
  const gapSeconds = () => dice.gamma(shape) / shape / rate;
  for (let seconds = -(gapsBefore * Math.max(1, cv * cv)) / rate; ; seconds += gapSeconds())
    if (seconds >= 0) yield 1000 * seconds;
}

/** A stretch of time over which the rate does not change. */
interface Stretch {
  readonly seconds: number;
  readonly rate: number;
}

/** A Poisson process whose rate changes: each arrival is one exponential amount of rate × time after the last. */
function* modulated(stretches: Iterable<Stretch>, dice: Dice): Generator<number> {
  let start = 0;
  let needed = dice.exponential();
  for (const { seconds, rate } of stretches) {
    let at = 0;
    while (rate * (seconds - at) >= needed) {
      at += needed / rate;
      needed = dice.exponential();
      yield 1000 * (start + at);
    }
    needed -= rate * (seconds - at);
    start += seconds;
  }
}

function* steady(rate: number): Generator<Stretch> {
  for (;;) yield { seconds: 1 / rate, rate };
}

function* onAndOff(
  { onSeconds, offSeconds }: { readonly onSeconds: number; readonly offSeconds: number },
  rate: number,
  dice: Dice,
): Generator<Stretch> {
  const share = onSeconds / (onSeconds + offSeconds);
  for (let isOn = dice.uniform() < share; ; isOn = !isOn) {
    yield isOn
      ? { seconds: onSeconds * dice.exponential(), rate: rate / share }
      : { seconds: offSeconds * dice.exponential(), rate: 0 };
  }
}

/** Of the memory of the rate: how long it is held before it moves. */
const stretchOfMemory = 1 / 30;

function* wandering(
  { spread, memorySeconds }: { readonly spread: number; readonly memorySeconds: number },
  rate: number,
  dice: Dice,
): Generator<Stretch> {
  const kept = Math.exp(-stretchOfMemory);
  for (let z = dice.normal(); ; z = kept * z + Math.sqrt(1 - kept * kept) * dice.normal())
    yield { seconds: stretchOfMemory * memorySeconds, rate: rate * Math.exp(spread * z - (spread * spread) / 2) };
}
