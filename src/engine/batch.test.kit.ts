// A notation for steps. A span is `name@variant/region computed+count`, with `!` where it reaches the sequence's end:
// "a/0 5+1!" decodes, "b@clinc/3 0+4" computes the first part of a prompt, "c/1 2+4 of 5" the last of a prompt of five tokens and one
// that was generated before. Residents are `index[class slot …]`.

import { defaultSampling, Sequence, type Span, type StepPlan } from "../core/index.js";
import { type Batch, type BatchContext, layoutBatch, type ResidentVariant, type RunLayout } from "./batch.js";
import { smallConfig } from "./random-model.test.kit.js";

export const vocabSize = 1000;
/** Token `position` of every sequence is this plus the position, unless a test says otherwise. */
export const firstToken = 100;

const config = smallConfig({
  hiddenSize: 8,
  layers: 1,
  heads: 2,
  kvHeads: 1,
  headDim: 4,
  feedForward: 8,
  vocabSize,
  contextLength: 512,
});

/** Residents by name: clinc has one sign plane, dates two, roman one of four bits, kana one and seven words of its own, lora factors. */
export const residents: Readonly<Record<string, ResidentVariant>> = {
  clinc: resident(0, { "q1_0.1": 4 }),
  dates: resident(1, { "q1_0.1": 0, "q1_0.2": 7 }),
  roman: resident(2, { "q4_0.1": 1 }),
  kana: { ...resident(3, { "q1_0.1": 2 }), vocabSize: vocabSize + 7 },
  lora: resident(4, { f16x8: 3 }),
  both: resident(5, { "q1_0.1": 1, f16x8: 0 }),
};

function resident(index: number, slots: Readonly<Record<string, number>>): ResidentVariant {
  return { index, slots: new Map(Object.entries(slots)), vocabSize };
}

export function context(fields: Partial<Omit<BatchContext, "config">> & { slidingWindow?: number } = {}): BatchContext {
  const { slidingWindow = null, ...rest } = fields;
  const find = (variant: string) => residents[variant];
  return {
    config: { ...config, slidingWindow },
    contextLength: 512,
    extraRows: 16,
    attendsByRow: false,
    mergeable: new Map(),
    resident: find,
    ...rest,
  };
}

export function span(notation: string, tokens: Readonly<Record<number, number>> = {}): Span {
  const { id, variant, region, computed, count, end, prompted } =
    /^(?<id>\w+)(@(?<variant>\w+))?\/(?<region>\d+) (?<computed>\d+)\+(?<count>\d+)(?<end>!)?( of (?<prompted>\d+))?$/.exec(
      notation,
    )!.groups!;
  const length = Number(computed) + Number(count) + (end ? 0 : 3);
  const all = Array.from({ length }, (_, position) => tokens[position] ?? firstToken + position);
  const sequence = new Sequence({
    id: id!,
    variant: variant ?? null,
    prompt: all.slice(0, prompted === undefined ? length : Number(prompted)),
    generated: prompted === undefined ? [] : all.slice(Number(prompted)),
    sampling: { ...defaultSampling, seed: 0 },
    maxTokens: 100,
    endTokens: [],
    topLogprobs: null,
  });
  sequence.computedTokens = Number(computed);
  sequence.region = Number(region);
  return { sequence, count: Number(count), samples: end === "!" };
}

export function planOf(...spans: readonly (string | Span)[]): StepPlan {
  return { spans: spans.map((one) => (typeof one === "string" ? span(one) : one)), wanted: [] };
}

export function layout(...notations: readonly string[]): Batch {
  return layoutBatch(planOf(...notations), context());
}

/** Rows as `region.position`, in batch order. */
export function printRows(batch: Batch, contextLength = 512): string {
  return Array.from(batch.cells, (cell, row) => {
    const region = Math.floor(Number(cell) / contextLength);
    return `${region}.${Number(cell) % contextLength === batch.positions[row] ? batch.positions[row] : "?"}`;
  }).join(" ");
}

/** `q1_0.1 0…1 [4 4]`: the class, the rows, and the slot of each. */
export function printRuns(runs: readonly RunLayout[]): string[] {
  return runs.map(
    ({ classId, firstRow, slots }) => `${classId} ${firstRow}…${firstRow + slots.length - 1} [${slots.join(" ")}]`,
  );
}

/** `0…17 {q1_0.1 4}`: the rows, and the slot of each class. */
export function printMerged(batch: Batch): string[] {
  return batch.merged.map(({ firstRow, rows, slots }) => {
    const own = Array.from(slots, ([classId, slot]) => `${classId} ${slot}`);
    return `${firstRow}…${firstRow + rows - 1} {${own.join(", ")}}`;
  });
}

/** `1x3 from 0, 256 cells`: rows of each sequence, sequences, the first region, and how wide they look. */
export function printGroups(batch: Batch): string[] {
  return batch.attention!.groups.map(
    ({ rows, sequences, firstRegion, cells }) => `${rows}x${sequences} from ${firstRegion}, ${cells} cells`,
  );
}

/** A group's mask, one line a row: the cells it may look at, as `first…last`. */
export function printMask(batch: Batch, group: number): string[] {
  const { rows, sequences, cells, mask } = batch.attention!.groups[group]!;
  return Array.from({ length: rows * sequences }, (_, row) => {
    const seen = Array.from({ length: cells }, (_, cell) => cell).filter((cell) => mask[row * cells + cell] === 0);
    const isOneStretch = seen.at(-1)! - seen[0]! + 1 === seen.length;
    return isOneStretch ? `${seen[0]}…${seen.at(-1)}` : seen.join(",");
  });
}
