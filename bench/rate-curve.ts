import { printSlo, type RunSummary, type Slo, significant } from "../src/load/index.js";
import { printColumns } from "../src/util/index.js";
import { verdict } from "./goal.js";
import { type SwapRun, swapGoals } from "./swap-table.js";

/** Of the requests at a rate that is still served well, so many keep the limits. */
const wellServed = 0.9;

/** One side at every rate that was tried, the lowest first. */
export interface RateCurve {
  readonly name: string;
  readonly points: readonly { readonly rate: number; readonly summary: RunSummary }[];
}

/** The sides of some runs, each with all its rates. */
export function curvesOf(runs: readonly SwapRun[]): RateCurve[] {
  const ordered = [...runs].sort((a, b) => a.rate - b.rate);
  const curve = (name: string, side: "kindred" | "swap" | "llama") => ({
    name,
    points: ordered.flatMap((run) => {
      const summary = run[side]?.summary;
      return summary ? [{ rate: run.rate, summary }] : [];
    }),
  });
  return [curve("kindred", "kindred"), curve("swap", "swap"), curve("llama.cpp", "llama")].filter(
    ({ points }) => points.length > 0,
  );
}

/** The highest rate that is served well, with all below it; undefined where the lowest is not. */
export function capacityOf({ points }: RateCurve): number | undefined {
  const firstBad = points.findIndex(({ summary }) => (summary.attainment ?? 0) < wellServed);
  const served = firstBad === -1 ? points : points.slice(0, firstBad);
  return served.at(-1)?.rate;
}

/** How the sides fare from rate to rate, and up to which each serves well. */
export function printRates(curves: readonly RateCurve[], slo: Slo): string {
  const rates = curves[0]!.points.map(({ rate }) => rate);
  const table = printColumns([
    ["requests a second", ...curves.flatMap(({ name }) => [`${name}, kept %`, "TTFT 99 %, ms"])],
    ...rates.map((rate, index) => [
      significant(rate),
      ...curves.flatMap(({ points }) => {
        const { attainment, ttftMs } = points[index]!.summary;
        return [significant(100 * (attainment ?? 0)), ttftMs ? significant(ttftMs.p99) : ""];
      }),
    ]),
  ]);
  const capacities = curves.map((curve) => `${curve.name} ${describeCapacity(curve)}`).join(", ");
  return [
    table,
    "",
    `${100 * wellServed} % kept ${printSlo(slo)} up to: ${capacities}`,
    ...comparedAtCapacity(curves),
  ].join("\n");
}

function describeCapacity(curve: RateCurve): string {
  const capacity = capacityOf(curve);
  if (capacity === undefined) return `below ${significant(curve.points[0]!.rate)}`;
  return capacity === curve.points.at(-1)!.rate ? `${significant(capacity)} or more` : significant(capacity);
}

/** What the other sides make of the highest rate that Kindred serves well. */
function comparedAtCapacity([kindred, ...others]: readonly RateCurve[]): string[] {
  const capacity = capacityOf(kindred!);
  if (capacity === undefined) return [];
  const p99 = ({ points }: RateCurve) => points.find(({ rate }) => rate === capacity)?.summary.ttftMs?.p99;
  return others.flatMap((other) => {
    const [own, theirs, least] = [p99(kindred!), p99(other), capacityOf(other) ?? other.points[0]!.rate];
    if (!own || !theirs) return [];
    const bound = capacityOf(other) === undefined ? "more than " : "";
    return [
      `against ${other.name}: ${bound}${significant(capacity / least)}× the rate, goal ${verdict(capacity / least, swapGoals.throughput)}; at ${significant(capacity)} a second TTFT 99 % ${significant(theirs / own)}× better, goal ${verdict(theirs / own, swapGoals.ttftP99)}`,
    ];
  });
}
