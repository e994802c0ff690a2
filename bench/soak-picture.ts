// A long run as a picture of three panels over the same time.
//
//   │ ────────────────── engine   MB
//   │ ━━━━━━━━━━━━━━━━━━ front
//   │ ─╯╰──╮╭──╯╰─────── 99 %     time to first token, ms
//   │ ━━━━━━━━━━━━━━━━━━ median
//   │ ─╮╭─╯╰──────╮╭──── 99 %     time per output token, ms
//   └───────────── time ───

import {
  axes,
  colours,
  curve,
  line,
  linearScale,
  logScale,
  type Panel,
  picture,
  type Range,
  type Scale,
  spread,
  text,
} from "../src/picture/index.js";
import type { SoakWindow } from "./soak.js";

const width = 1000;
const panelHeight = 200;
const firstTop = 70;
const between = 70;
const left = 70;
const right = 890;

/** A value of every window, and what it is called; null where there was none. */
interface Series {
  readonly name: string;
  readonly of: (window: SoakWindow) => number | null | undefined;
}

/** @param allowedBytes what the engine may have: is drawn beside the memory where it is known */
export function drawSoak(title: string, windows: readonly SoakWindow[], allowedBytes: number | undefined): string {
  const isLong = windows.at(-1)!.toSeconds > 300;
  const unit = isLong ? 60 : 1;
  const x = linearScale({ from: 0, to: windows.at(-1)!.toSeconds / unit }, { from: left, to: right });
  const at = ({ fromSeconds, toSeconds }: SoakWindow) => x.at((fromSeconds + toSeconds) / 2 / unit);
  const megabytes = (bytes: number | null) => (bytes === null ? null : bytes / 1e6);
  const panels: readonly { label: string; isLog: boolean; series: readonly Series[] }[] = [
    {
      label: "resident memory, MB",
      isLog: false,
      series: [
        { name: "engine", of: ({ engineBytes }) => megabytes(engineBytes) },
        { name: "front door", of: ({ frontBytes }) => megabytes(frontBytes) },
        ...(allowedBytes === undefined ? [] : [{ name: "budget", of: () => allowedBytes / 1e6 }]),
      ],
    },
    {
      label: "time to first token, ms",
      isLog: true,
      series: [
        { name: "99 %", of: ({ ttftMs }) => ttftMs?.p99 },
        { name: "median", of: ({ ttftMs }) => ttftMs?.median },
      ],
    },
    {
      label: "time per output token after the first, ms",
      isLog: true,
      series: [
        { name: "99 %", of: ({ tpotMs }) => tpotMs?.p99 },
        { name: "median", of: ({ tpotMs }) => tpotMs?.median },
      ],
    },
  ];
  const parts = panels.flatMap(({ label, isLog, series }, index) => {
    const top = firstTop + index * (panelHeight + between);
    const place: Panel = { from: left, to: right, bottom: top + panelHeight };
    const y = scaleOf(windows, series, isLog, { from: place.bottom, to: top });
    return [
      text(left - 54, top - 16, label),
      ...axes(place, { x, y, xLabel: String, yLabel: String }),
      ...drawn(series, { windows, at, y, place: { from: top, to: place.bottom } }),
    ];
  });
  const bottom = firstTop + 3 * panelHeight + 2 * between;
  const caption = text(right, bottom + 38, isLong ? "minutes" : "seconds", { "text-anchor": "end" });
  return picture(
    { width, height: bottom + 60 },
    title,
    [text(left - 54, 22, title, { class: "t" }), ...parts, caption].join("\n"),
  );
}

function scaleOf(windows: readonly SoakWindow[], series: readonly Series[], isLog: boolean, pixels: Range): Scale {
  const values = valuesOf(windows, series);
  const most = 1.1 * values.reduce((max, value) => Math.max(max, value), 1);
  if (!isLog) return linearScale({ from: 0, to: most }, pixels);
  return logScale({ from: 0.8 * values.reduce((least, value) => Math.min(least, value), most), to: most }, pixels);
}

function valuesOf(windows: readonly SoakWindow[], series: readonly Series[]): number[] {
  return series.flatMap(({ of }) => windows.map(of)).filter((value): value is number => value != null && value > 0);
}

/** A line through the windows that have a value for each of the series, its name at its end. */
function drawn(
  series: readonly Series[],
  {
    windows,
    at,
    y,
    place,
  }: { windows: readonly SoakWindow[]; at: (window: SoakWindow) => number; y: Scale; place: Range },
): string[] {
  const curves = series.flatMap(({ name, of }, index) => {
    const points = windows.flatMap((window): [number, number][] => {
      const value = of(window);
      return value != null && value > 0 ? [[at(window), y.at(value)]] : [];
    });
    return points.length === 0 ? [] : [{ name, points, end: points.at(-1)!, colour: colours[index]! }];
  });
  const labels = spread(
    curves.map(({ end }) => end[1]),
    14,
    place,
  );
  return curves.flatMap(({ name, points, end, colour }, index) => [
    curve(points, colour),
    line(end[0], end[1], right + 6, labels[index]!, colour, "2 3"),
    text(right + 10, labels[index]! + 4, name, { style: `fill:${colour}` }),
  ]);
}
