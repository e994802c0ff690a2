// An evaluation as a picture of two panels. Colours tell candidates apart, shapes the sets.
//
//   ┌ KL ──────────────────┐              ┌ error ───────────────┐
//   │ ● ─ ─ ─ ─ ─ ─ ─ ─ ─ ─│─ sign, 1     │ ▔▔▔▔╲___╱▔▔▔▔▔▔▔▔▔▔▔▔│─ sign, 1
//   │ ◆   ●                │              │                      │
//   │     ◆  ● ─ ─ ─ ─ ─ ─ │─ sign, 2     │ ____________________ │─ sign, 2
//   └──────────────── bytes┘              └───────────────── layer┘

import {
  axes,
  colours,
  curve,
  element,
  ink,
  line,
  linearScale,
  logScale,
  picture,
  type Scale,
  spread,
  text,
} from "../picture/index.js";
import { formatBytes } from "../util/index.js";
import type { CandidateResult, Evaluation } from "./evaluation.js";

const width = 1180;
const height = 470;
const top = 64;
const bottom = 410;
const labelGap = 15;
/** Pixels from the left edge: where each panel's axes begin and end. Names stand to the right of them. */
const left = { from: 64, to: 400, bottom };
const right = { from: 690, to: 1000, bottom };
/** Characters of a name that have room beside a panel. */
const nameMax = 20;
const shapes = [circle, diamond, square, triangle];
/** What is drawn for a divergence of zero, which a logarithm has no place for. */
const klMin = 1e-6;

interface Drawn extends CandidateResult {
  readonly colour: string;
}

/** Draws an evaluation as an SVG document: bytes against divergence, and the relative error of every layer. */
export function drawEvaluation(evaluation: Evaluation): string {
  const [base, ...deltas] = evaluation.candidates;
  const drawn = deltas.map((candidate, index) => ({ ...candidate, colour: colours[index % colours.length]! }));
  const content = [fidelityPanel(evaluation, base!, drawn), errorPanel(drawn)].join("\n");
  return picture({ width, height }, `${evaluation.tuned.name} as deltas`, content);
}

/** Bytes against mean divergence, both logarithmic; the base as a broken line for each set. */
function fidelityPanel({ sets, tuned }: Evaluation, base: CandidateResult, drawn: readonly Drawn[]): string {
  const kl = ({ results }: CandidateResult, set: number) => Math.max(klMin, results[set]!.fidelity.kl.mean);
  const kls = [base, ...drawn].flatMap((candidate) => sets.map((_, set) => kl(candidate, set)));
  const bytes = drawn.map(({ diskBytes }) => Math.max(1, diskBytes));
  const x = logScale({ from: 0.8 * Math.min(...bytes, tuned.bytes), to: 1.25 * Math.max(...bytes, 2) }, left);
  const y = logScale({ from: 0.7 * Math.min(...kls), to: 1.5 * Math.max(...kls) }, { from: bottom, to: top });

  const parts = [text(left.from - 48, 22, `Bytes against divergence from ${tuned.name}`, { class: "t" })];
  let legendX = left.from + 24;
  for (const [set, { name }] of sets.entries()) {
    const label = `${name}${base.results[set]!.answers ? "" : " (text)"}`;
    parts.push(shapes[set % shapes.length]!(legendX, 41, ink), text(legendX + 10, 45, label));
    legendX += 30 + 6.6 * label.length;
  }
  parts.push(...axes(left, { x, y, xLabel: roundBytes, yLabel: plain }));
  parts.push(text(left.from - 48, top - 8, "KL, nats"), text(left.to, bottom + 36, "bytes", { "text-anchor": "end" }));
  const bases = sets.map((_, set) => y.at(kl(base, set)));
  const basePlaces = spread(bases, labelGap, { from: top, to: bottom });
  for (const [set, place] of bases.entries()) {
    parts.push(line(left.from, place, left.to, place, ink, "6 4"));
    parts.push(shapes[set % shapes.length]!(left.from + 8, place, ink));
    parts.push(text(left.to + 30, basePlaces[set]! + 4, `base, ${sets[set]!.name}`));
  }
  // Names stand beside the first set's points, below the base's.
  const lowest = Math.max(...basePlaces) + labelGap;
  const places = spread(
    drawn.map((candidate) => y.at(kl(candidate, 0))),
    labelGap,
    { from: lowest, to: bottom },
  );
  for (const [index, candidate] of drawn.entries()) {
    const at = x.at(Math.max(1, candidate.diskBytes));
    const points = sets.map((_, set) => y.at(kl(candidate, set)));
    parts.push(line(at, Math.min(...points), at, Math.max(...points), candidate.colour));
    parts.push(leader(at, points[0]!, left.to, places[index]!, candidate.colour));
    for (const [set, place] of points.entries()) {
      parts.push(shapes[set % shapes.length]!(at, place, candidate.colour));
    }
    parts.push(label(left.to + 30, places[index]!, candidate, `, ${candidate.bitsPerParameter.toFixed(2)} bits`));
  }
  return parts.join("\n");
}

/** A line for each candidate over the layers of the model. */
function errorPanel(drawn: readonly Drawn[]): string {
  const longest = drawn.reduce<Drawn["layers"]>(
    (most, { layers }) => (layers.length > most.length ? layers : most),
    [],
  );
  if (longest.length < 2) return "";
  const errors = drawn.flatMap(({ layers }) => layers.map(({ relativeError }) => relativeError));
  const y = linearScale({ from: 0, to: 1.05 * Math.max(...errors, 0.05) }, { from: bottom, to: top });
  const at = (index: number) => right.from + 10 + (index / (longest.length - 1)) * (right.to - right.from - 20);
  const every = Math.ceil(longest.length / 8);
  const shown = [...longest.keys()].filter((index) => index % every === 0);
  const x: Scale = { at, ticks: shown };

  const parts = [text(right.from - 48, 22, "Relative error of the delta, by layer", { class: "t" })];
  parts.push(
    ...axes(right, { x, y, xLabel: (index) => layerLabel(longest[index]!.name), yLabel: (error) => `${error}` }),
  );
  parts.push(text(right.from - 48, top - 8, "‖Δ − Δ̂‖ / ‖Δ‖"));
  const ends = drawn.map(({ layers }) => y.at(layers.at(-1)?.relativeError ?? 0));
  const places = spread(ends, labelGap, { from: top, to: bottom });
  for (const [index, candidate] of drawn.entries()) {
    const { layers, colour } = candidate;
    parts.push(
      curve(
        layers.map(({ relativeError }, layer) => [at(layer), y.at(relativeError)]),
        colour,
      ),
    );
    parts.push(leader(at(layers.length - 1), ends[index]!, right.to, places[index]!, colour));
    parts.push(label(right.to + 30, places[index]!, candidate, ""));
  }
  return parts.join("\n");
}

/** Of round numbers: `1 MB` and `0.001`, where what is not round would show its digits. */
const roundBytes = (bytes: number) => formatBytes(bytes).replace(/\.0+ /, " ");
const plain = (value: number) => `${value}`;

const layerLabel = (name: string) => (name === "embedding" ? "emb." : name);

/** From a point to the name beside the panel. */
function leader(x: number, y: number, edge: number, labelY: number, colour: string): string {
  const points = `${x.toFixed(1)},${y.toFixed(1)} ${edge},${y.toFixed(1)} ${edge + 24},${labelY.toFixed(1)}`;
  return element("polyline", {
    points,
    fill: "none",
    stroke: colour,
    "stroke-opacity": "0.6",
    "stroke-dasharray": "1 3",
  });
}

function label(x: number, y: number, { name, colour }: Drawn, more: string): string {
  const short = name.length > nameMax ? `${name.slice(0, nameMax - 1)}…` : name;
  return text(x, y + 4, `${short}${more}`, { style: `fill:${colour}` });
}

function circle(cx: number, cy: number, fill: string): string {
  return element("circle", { cx, cy, r: 4.5, fill });
}

function diamond(x: number, y: number, fill: string): string {
  return polygon([x, y - 6, x + 6, y, x, y + 6, x - 6, y], fill);
}

function square(x: number, y: number, fill: string): string {
  return polygon([x - 4, y - 4, x + 4, y - 4, x + 4, y + 4, x - 4, y + 4], fill);
}

function triangle(x: number, y: number, fill: string): string {
  return polygon([x, y - 6, x + 5.5, y + 4, x - 5.5, y + 4], fill);
}

function polygon(points: readonly number[], fill: string): string {
  return element("polygon", { points: points.map((value) => value.toFixed(1)).join(" "), fill });
}
