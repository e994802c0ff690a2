// Runs as a picture of two panels, a colour a run.
//
//   ┌ share of requests ───┐        ┌ share of requests ───┐
//   │        ╭──────────── │ warm   │            ╭──────── │ kindred
//   │    ╭───╯   ╭──────── │ cold   │      ╭─────╯         │
//   │ ───╯───────╯         │        │ ─────╯               │
//   └───────── TTFT, ms ───┘        └─ limit ──────────────┘

import {
  axes,
  colours,
  curve,
  element,
  ink,
  legend,
  linearScale,
  logScale,
  type Panel,
  picture,
  type Scale,
  text,
} from "../picture/index.js";
import { finishedOf, printSlo, type Slo } from "./metrics.js";
import { e2eMs, type RequestRecord, tpotMs, ttftMs } from "./record.js";

/** Requests that are drawn as one line. */
export interface DrawnRun {
  readonly name: string;
  readonly records: readonly RequestRecord[];
}

const width = 1000;
const height = 440;
const top = 70;
const bottom = 380;
const left: Panel = { from: 56, to: 460, bottom };
const right: Panel = { from: 560, to: 964, bottom };
/** Points of a curve at most; more cannot be told apart. */
const pointsMax = 400;

/**
 * Draws runs as an SVG document: how many requests had their first token after so long, and how many kept the limits when each is taken so
 * many times. Without limits, how many were complete after so long. A failed request never keeps anything.
 */
export function drawRuns(title: string, runs: readonly DrawnRun[], slo: Slo): string {
  const hasSlo = Object.keys(slo).length > 0;
  const parts = [
    text(left.from - 40, 22, title, { class: "t" }),
    ...legend(
      runs.map(({ name }) => name),
      left.from,
      46,
    ),
    ...panel(left, "time to first token, ms", shares(runs, ttftMs)),
    ...panel(
      right,
      hasSlo ? `multiple of ${printSlo(slo)}` : "end to end, ms",
      hasSlo ? shares(runs, (record) => scaleKept(record, slo)) : shares(runs, e2eMs),
      hasSlo ? 1 : undefined,
    ),
  ];
  return picture({ width, height }, title, parts.join("\n"));
}

/** The least multiple of the limits that a request keeps. */
export function scaleKept(record: RequestRecord, slo: Slo): number {
  const over = (value: number | null, limit: number | undefined) => (limit === undefined ? 0 : (value ?? 0) / limit);
  return Math.max(over(ttftMs(record), slo.ttftMs), over(tpotMs(record), slo.tpotMs), over(e2eMs(record), slo.e2eMs));
}

/** Of one run, ascending values of the complete requests, and how many requests there were with those that failed. */
interface Shares {
  readonly values: readonly number[];
  readonly total: number;
}

function shares(runs: readonly DrawnRun[], of: (record: RequestRecord) => number | null): Shares[] {
  return runs.map(({ records }) => {
    const finished = finishedOf(records);
    const values = finished.filter(({ failure }) => failure === null).map((record) => of(record) ?? 0);
    return { values: values.sort((a, b) => a - b), total: finished.length };
  });
}

/** @param marked a value with an upright line of its own */
function panel(place: Panel, label: string, drawn: readonly Shares[], marked?: number): string[] {
  const all = drawn
    .flatMap(({ values }) => [values[0], values.at(-1)])
    .filter((value) => value !== undefined && value > 0);
  const known = [...(all as number[]), ...(marked === undefined ? [] : [marked])];
  const from = 0.8 * known.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  const to = 1.25 * known.reduce((most, value) => Math.max(most, value), 0);
  const x = logScale(known.length === 0 ? { from: 1, to: 10 } : { from, to }, place);
  const y = linearScale({ from: 0, to: 1 }, { from: bottom, to: top });
  const format = (value: number) => `${value}`;
  const parts = [
    ...axes(place, { x, y, xLabel: format, yLabel: format }),
    text(place.from - 40, top - 10, "share of requests"),
    text(place.to, bottom + 38, label, { "text-anchor": "end" }),
    ...drawn.map((run, index) => curve(steps(run, x, y, place), colours[index % colours.length]!)),
  ];
  if (marked !== undefined) {
    const at = x.at(marked).toFixed(1);
    parts.push(element("path", { d: `M${at} ${top}V${bottom}`, stroke: ink, "stroke-dasharray": "4 4" }));
  }
  return parts;
}

/** The curve of what share of a run is at a value or below. */
function steps({ values, total }: Shares, x: Scale, y: Scale, place: Panel): [number, number][] {
  const every = Math.max(1, Math.ceil(values.length / pointsMax));
  const points: [number, number][] = [[place.from, y.at(0)]];
  for (let index = every - 1; index < values.length; index += every)
    points.push([Math.max(place.from, x.at(values[index]!)), y.at((index + 1) / total)]);
  if (values.length > 0) {
    const share = y.at(values.length / total);
    points.push([x.at(values.at(-1)!), share], [place.to, share]);
  }
  return points;
}
