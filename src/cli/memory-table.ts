import type { MemoryDivision, MemoryPlan } from "../engine/index.js";
import { formatBytes, printColumns } from "../util/index.js";

/** How an engine's memory is divided, in a line. */
export function describeMemory(division: MemoryDivision, contextLength: number): string {
  const { budgetBytes, baseBytes, stepBytes, fixedBytes, sharedBytes, pinnedBytes, sequenceBytes } = division;
  const process = division.processBytes > 0 ? `${formatBytes(division.processBytes)} process, ` : "";
  const own = `${formatBytes(budgetBytes)} of memory: ${process}${formatBytes(baseBytes)} base, ${formatBytes(stepBytes)} steps`;
  if (sharedBytes === 0) {
    const places = `${division.sequences} requests of ${contextLength} tokens and ${division.variantsMax} variants`;
    return `${own}, ${formatBytes(fixedBytes)} for ${places}`;
  }
  const variants = division.variantBytes > 0 ? ` and variants (up to ${formatBytes(division.variantBytes)} each)` : "";
  const pinned = pinnedBytes > 0 ? `, ${formatBytes(pinnedBytes)} of it pinned` : "";
  return `${own}, ${formatBytes(fixedBytes)} fixed, ${formatBytes(sharedBytes)} shared by requests (up to ${formatBytes(sequenceBytes)} each)${variants}${pinned}`;
}

/** How many variants have room beside so many requests that fill the context. */
export interface MemoryRow {
  readonly requests: number;
  readonly cacheBytes: number;
  readonly variantBytes: number;
  /** Variants of mean size, registered or not. */
  readonly room: number;
}

/** Rows for one request at once, some, and as many as may run. */
export function memoryRows({ division, variants }: MemoryPlan): MemoryRow[] {
  const { sequences, sequenceBytes, sharedBytes } = division;
  const meanBytes = variants.reduce((sum, { bytes }) => sum + bytes, 0) / Math.max(1, variants.length);
  const counts = [...new Set([1, 4, 16, sequences])].filter((count) => count <= sequences).sort((a, b) => a - b);
  return counts
    .map((requests) => {
      const cacheBytes = requests * sequenceBytes;
      const variantBytes = sharedBytes - cacheBytes;
      return { requests, cacheBytes, variantBytes, room: meanBytes > 0 ? Math.floor(variantBytes / meanBytes) : 0 };
    })
    .filter(({ variantBytes }) => variantBytes >= 0);
}

/** A plan as lines for people. */
export function printMemoryPlan(plan: MemoryPlan): string {
  const { division, variants, refused, contextLength } = plan;
  const line = describeMemory(division, contextLength);
  const left = refused.map(({ name, error }) => `Left out ${name}: ${error.message}`);
  if (division.sharedBytes === 0) return [line, ...left].join("\n");
  const heads = ["requests at once", "their cache", "left", "resident", "room for as many of this size"];
  const table = memoryRows(plan).map(({ requests, cacheBytes, variantBytes, room }) => [
    `${requests}`,
    formatBytes(cacheBytes),
    formatBytes(variantBytes),
    `${Math.min(room, variants.length)} of ${variants.length}`,
    `${room}`,
  ]);
  const columns = variants.length > 0 ? heads.length : 3;
  return [
    line,
    "",
    `Requests that come to ${contextLength} tokens; one that ends before takes less:`,
    printColumns([heads, ...table].map((row) => row.slice(0, columns))),
    ...left,
  ].join("\n");
}
