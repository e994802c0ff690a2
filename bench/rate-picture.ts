// Sides from rate to rate as a picture of two panels, a colour a side.
//
//   ┌ within the limits ───┐        ┌ TTFT 99 %, ms ───────┐
//   │ ━━━━━━━━━━╮          │        │      ╭────────────── │ swap
//   │ ──╮       ╰━━━ kindred        │ ─────╯     ╭━━━━━━━━ │ kindred
//   │   ╰───────────  swap │        │ ━━━━━━━━━━━╯         │
//   └─ requests a second ──┘        └─ requests a second ──┘

import { printSlo, type RunSummary, type Slo } from "../src/load/index.js";
import {
  axes,
  colours,
  curve,
  legend,
  linearScale,
  logScale,
  type Panel,
  picture,
  type Scale,
  text,
} from "../src/picture/index.js";
import type { RateCurve } from "./rate-curve.js";

const width = 1000;
const height = 440;
const top = 70;
const bottom = 380;
const left: Panel = { from: 56, to: 460, bottom };
const right: Panel = { from: 580, to: 964, bottom };

/** Draws what share of requests kept the limits at each rate, and their time to first token. */
export function drawRates(title: string, curves: readonly RateCurve[], slo: Slo): string {
  const rates = curves.flatMap(({ points }) => points.map(({ rate }) => rate));
  const x = (place: Panel) => logScale({ from: 0.9 * Math.min(...rates), to: 1.1 * Math.max(...rates) }, place);
  const slowest = curves.flatMap(({ points }) => points.map(({ summary }) => summary.ttftMs?.p99 ?? 0));
  const y = { from: bottom, to: top };
  const kept = { x: x(left), y: linearScale({ from: 0, to: 1 }, y) };
  const ttft = {
    x: x(right),
    y: logScale({ from: 0.8 * Math.min(...slowest.filter((ms) => ms > 0)), to: 1.25 * Math.max(...slowest) }, y),
  };
  const content = [
    text(left.from - 40, 22, title, { class: "t" }),
    ...legend(
      curves.map(({ name }) => name),
      left.from,
      46,
    ),
    ...panel(left, `share within ${printSlo(slo)}`, kept, curves, ({ attainment }) => attainment),
    ...panel(right, "time to first token, 99 %, ms", ttft, curves, ({ ttftMs }) => ttftMs?.p99),
  ];
  return picture({ width, height }, title, content.join("\n"));
}

function panel(
  place: Panel,
  label: string,
  { x, y }: { x: Scale; y: Scale },
  curves: readonly RateCurve[],
  of: (summary: RunSummary) => number | null | undefined,
): string[] {
  return [
    ...axes(place, { x, y, xLabel: String, yLabel: String }),
    text(place.from - 40, top - 10, label),
    text(place.to, bottom + 38, "requests a second", { "text-anchor": "end" }),
    ...curves.map(({ points }, index) => {
      const drawn = points.flatMap(({ rate, summary }): [number, number][] => {
        const value = of(summary);
        return value == null ? [] : [[x.at(rate), y.at(value)]];
      });
      return curve(drawn, colours[index]!);
    }),
  ];
}
