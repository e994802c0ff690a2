import { elementCount, ownHeadName, tensorBytes } from "../core/index.js";
import {
  blobsOf,
  type DeltaArtifact,
  type DeltaTensor,
  type PlanesTensor,
  residentBytes,
  storedBytes,
} from "../formats/index.js";
import { formatBytes } from "../util/index.js";

/** What some parameters of a delta cost and lose. */
export interface ReportLine {
  /** A parameter's name, or a pattern with `*` for the layer. */
  readonly name: string;
  /** How they are stored: "unchanged", "absolute", "exact", "left out", or planes and factors, as "q1_0 × 2 + q8_0 rank 32"; "+ exact" with it. */
  readonly form: string;
  readonly parameters: number;
  /** Of the delta's blobs as they are stored. */
  readonly diskBytes: number;
  /** Device memory of these while the variant is resident; see {@link residentBytes}. */
  readonly residentBytes: number;
  /** `diskBytes` over all of these parameters, in bits. */
  readonly bitsPerWeight: number;
  /** ‖Δ − Δ̂‖ / ‖Δ‖ over what is in planes and factors; 0 where nothing is, since the rest is exact. */
  readonly relativeError: number;
}

/** What a delta costs and loses. */
export interface DeltaReport {
  readonly name: string;
  readonly codec: DeltaArtifact["codec"];
  readonly base: DeltaArtifact["base"];
  /** Bytes of the fine-tune's own parameters. */
  readonly tunedBytes: number;
  readonly tensors: readonly ReportLine[];
  /** Parameters that differ only in their layer, taken together. */
  readonly groups: readonly ReportLine[];
  /** Parameters of one layer taken together, in the model's order: "embedding", "0", "1", …, and "head" when it has its own. */
  readonly layers: readonly ReportLine[];
  readonly total: ReportLine;
}

/** What a report looks at of an artifact. */
export type ReportedDelta = Pick<DeltaArtifact, "name" | "codec" | "base" | "config" | "tensors">;

export function reportOf(delta: ReportedDelta): DeltaReport {
  const { name, codec, base, config, tensors } = delta;
  const all = [...tensors.values()];
  const layered = all.filter(({ name }) => layerOf(name) !== null);
  // A tied fine-tune has no head beside its embedding, even where its delta has one.
  const own = all.filter(({ name }) => !(config.tiedEmbeddings && name === ownHeadName));
  return {
    name,
    codec,
    base,
    tunedBytes: own.reduce((sum, { dtype, shape }) => sum + tensorBytes(dtype, shape), 0),
    tensors: all.map((tensor) => lineOf(tensor.name, [tensor], delta)),
    groups: linesBy(all, delta, ({ name }) => name.replace(/\.layers\.\d+\./, ".layers.*.")),
    layers: linesBy(layered, delta, ({ name }) => layerOf(name)!),
    total: lineOf("total", all, delta),
  };
}

/** The report as a table for a terminal; one line a group of tensors, or one a tensor. */
export function printReport(report: DeltaReport, { tensors }: { tensors: boolean }): string {
  const lines = [...(tensors ? report.tensors : report.groups), { ...report.total, form: "" }];
  const rows = lines.map(({ name, form, parameters, diskBytes, residentBytes, bitsPerWeight, relativeError }) => [
    name,
    form,
    parameters.toLocaleString("en"),
    formatBytes(diskBytes),
    formatBytes(residentBytes),
    bitsPerWeight.toFixed(2),
    relativeError.toFixed(4),
  ]);
  return printTable(["tensor", "form", "parameters", "disk", "resident", "bits/weight", "error"], rows);
}

/** A line for each name that tensors have in common, in the order in which they first come. */
function linesBy(
  tensors: readonly DeltaTensor[],
  delta: ReportedDelta,
  nameOf: (tensor: DeltaTensor) => string,
): ReportLine[] {
  const groups = new Map<string, DeltaTensor[]>();
  for (const tensor of tensors) groups.set(nameOf(tensor), [...(groups.get(nameOf(tensor)) ?? []), tensor]);
  return [...groups].map(([name, group]) => lineOf(name, group, delta));
}

/** Where a parameter is in its model; null for the final norm, which is in no layer. */
function layerOf(name: string): string | null {
  if (name.startsWith("model.embed_tokens.")) return "embedding";
  if (name.startsWith("lm_head.")) return "head";
  return /\.layers\.(\d+)\./.exec(name)?.[1] ?? null;
}

function lineOf(name: string, tensors: readonly DeltaTensor[], delta: ReportedDelta): ReportLine {
  let parameters = 0;
  let diskBytes = 0;
  let squaredNorm = 0;
  let squaredError = 0;
  for (const tensor of tensors) {
    parameters += elementCount(tensor.shape);
    for (const blob of blobsOf(tensor)) diskBytes += storedBytes(blob);
    if (tensor.kind !== "planes") continue;
    squaredNorm += tensor.norm ** 2;
    squaredError += tensor.error ** 2;
  }
  return {
    name,
    form: [...new Set(tensors.map(formOf))].join(", "),
    parameters,
    diskBytes,
    residentBytes: residentBytes(delta, tensors),
    bitsPerWeight: (diskBytes * 8) / parameters,
    relativeError: squaredNorm === 0 ? 0 : Math.sqrt(squaredError / squaredNorm),
  };
}

function formOf(tensor: DeltaTensor): string {
  if (tensor.kind === "exact") return tensor.kind;
  const form = tensor.kind === "planes" ? partsOf(tensor) : tensor.kind;
  return tensor.exact?.blob ? `${form} + exact` : form;
}

function partsOf({ planeDType, planes, factors }: PlanesTensor): string {
  const ofPlanes = planes.length > 0 ? [`${planeDType} × ${planes.length}`] : [];
  return [...ofPlanes, ...factors.map(({ dtype, rank }) => `${dtype} rank ${rank}`)].join(" + ") || "left out";
}

/** Columns as wide as their widest cell; the first two read from the left, numbers from the right. */
function printTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const table = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  const print = (row: readonly string[]) =>
    row.map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join("  ");
  const rule = "─".repeat(widths.reduce((sum, width) => sum + width + 2, -2));
  return [print(head), rule, ...rows.slice(0, -1).map(print), rule, print(rows.at(-1) ?? head)].join("\n");
}
