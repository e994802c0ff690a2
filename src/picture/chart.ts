// What charts have in common. Colours are of middling lightness, so that one picture is readable on white and on black.

import { element, escapeText, type Range, type Scale, text } from "./svg.js";

/** Axes, grid and words that belong to no series. */
export const ink = "#7d7d7d";

/** Colours that tell series apart; they begin again after the last. */
export const colours = [
  "#d1495b",
  "#2f86d6",
  "#2e9e5b",
  "#b8860b",
  "#a65fd0",
  "#1a9ba1",
  "#e07b39",
  "#6c6fe0",
  "#7a9a01",
  "#c94f9b",
  "#8c6d5a",
  "#5f7f8f",
] as const;

/** A whole SVG document of this size in pixels. Text of class `t` is a heading. */
export function picture(size: { width: number; height: number }, title: string, content: string): string {
  const style = `text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:${ink}}.t{font-size:14px;font-weight:600}`;
  return `${element(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${size.width} ${size.height}`, role: "img" },
    `\n<title>${escapeText(title)}</title>\n<style>${style}</style>\n${content}\n`,
  )}\n`;
}

/** Where a panel's axes begin and end in pixels from the left, and the pixel of its lower edge. */
export interface Panel extends Range {
  readonly bottom: number;
}

/** Scales of a panel and how their ticks are labelled. */
export interface Axes {
  readonly x: Scale;
  readonly y: Scale;
  readonly xLabel: (value: number) => string;
  readonly yLabel: (value: number) => string;
}

/** A panel's grid, ticks and labels. */
export function axes({ from, to, bottom }: Panel, { x, y, xLabel, yLabel }: Axes): string[] {
  const rows = y.ticks.flatMap((tick) => [
    element("path", { d: `M${from} ${y.at(tick).toFixed(1)}H${to}`, stroke: ink, "stroke-opacity": "0.25" }),
    text(from - 8, y.at(tick) + 4, yLabel(tick), { "text-anchor": "end" }),
  ]);
  const columns = x.ticks.flatMap((tick) => [
    line(x.at(tick), bottom, x.at(tick), bottom + 5, ink),
    text(x.at(tick), bottom + 19, xLabel(tick), { "text-anchor": "middle" }),
  ]);
  return [...rows, line(from, bottom, to, bottom, ink), ...columns];
}

/** Names in a row beside marks in their colours, the first from `x` on. */
export function legend(names: readonly string[], x: number, y: number): string[] {
  let at = x;
  return names.flatMap((name, index) => {
    const colour = colours[index % colours.length]!;
    const label = text(at + 22, y, name, { style: `fill:${colour}` });
    const mark = line(at, y - 4, at + 16, y - 4, colour);
    at += 40 + 7 * name.length;
    return [mark, label];
  });
}

/** A straight line. */
export function line(x1: number, y1: number, x2: number, y2: number, stroke: string, dashes = "none"): string {
  return element("line", { x1, y1, x2, y2, stroke, "stroke-dasharray": dashes });
}

/** A line through points in pixels. */
export function curve(points: readonly (readonly [x: number, y: number])[], stroke: string): string {
  const list = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
  return element("polyline", { points: list, fill: "none", stroke, "stroke-width": 1.8 });
}
