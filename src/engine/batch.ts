import type { ModelConfig, Span, StepPlan } from "../core/index.js";
import type { MergedPart } from "../model/index.js";
import { alignUp, assert } from "../util/index.js";

/** A variant on the device, as a step needs to know it. */
export interface ResidentVariant {
  /** Its number among residents. */
  readonly index: number;
  /** Its slot of each class, by the class's id. */
  readonly slots: ReadonlyMap<string, number>;
  /** Rows of its vocabulary. */
  readonly vocabSize: number;
}

/** Rows side by side that have parts of one class, and the slot of each. */
export interface RunLayout {
  readonly classId: string;
  readonly firstRow: number;
  readonly slots: Int32Array;
}

/** Rows side by side of one variant whose planes are merged for them. */
export interface MergedLayout {
  readonly firstRow: number;
  readonly rows: number;
  readonly slots: ReadonlyMap<string, number>;
}

export interface GroupLayout {
  readonly rows: number;
  readonly sequences: number;
  readonly firstRegion: number;
  readonly cells: number;
  /** Half floats, `[sequences][rows][cells]`: 0 where a row may look, −∞ where not. */
  readonly mask: Uint16Array;
}

/** All rows by the groups in which they attend. */
export interface AttentionLayout {
  readonly groups: readonly GroupLayout[];
  /** Batch rows in the groups' order; undefined when it is the batch's own. */
  readonly gather: Int32Array | undefined;
}

/**
 * A step as flat arrays. `n` rows, one a token, ordered so that merged rows come first, rows with parts of the same classes
 * lie side by side and the base's come last; `m` of them want logits.
 */
export interface Batch {
  readonly tokens: Int32Array;
  readonly positions: Int32Array;
  readonly cells: BigInt64Array;
  /** Together the first rows. */
  readonly merged: readonly MergedLayout[];
  readonly runs: readonly RunLayout[];
  /** Each row's row in the vector pools; undefined when all are the base's. */
  readonly vectorRows: Int32Array | undefined;
  /** Which rows attend together; undefined where the device attends row by row. */
  readonly attention: AttentionLayout | undefined;
  /** Tokens beyond the base's vocabulary: row in the extra pool, and the batch row it belongs to. */
  readonly extraTokens: { readonly from: Int32Array; readonly to: BigInt64Array } | undefined;
  /** Of every row whose logits are read, its span. */
  readonly outputs: readonly Span[];
  readonly outputRows: Int32Array;
  readonly outputRuns: readonly RunLayout[];
  readonly outputVectorRows: Int32Array | undefined;
  /** Residents of the output's variant rows, when one of them has extra vocabulary. */
  readonly extraOutput: Int32Array | undefined;
}

export interface BatchContext {
  readonly config: ModelConfig;
  readonly contextLength: number;
  /** Extra vocabulary rows that the pools have room for, per variant. */
  readonly extraRows: number;
  /** Whether the device attends row by row, and needs no groups; see `attendsByRow`. */
  readonly attendsByRow: boolean;
  /** Classes that a variant may have whose planes are merged, and what becomes of each; see `mergeableClasses`. */
  readonly mergeable: ReadonlyMap<string, MergedPart>;
  resident(variant: string): ResidentVariant | undefined;
}

interface Row {
  readonly span: Span;
  readonly token: number;
  readonly position: number;
  readonly region: number;
  readonly resident: ResidentVariant | undefined;
  readonly isMerged: boolean;
}

/**
 * Tokens of a prompt from which on a variant's planes are merged for it: from some 8 to 16 rows on that takes less time than
 * products of their own.
 */
export const mergedPromptMin = 16;
const minusInfinity = 0xfc00;
/** Attention widths grow in these, so that a graph stays good for many steps. */
const decodeCellsStep = 256;
const prefillCellsStep = 64;

/** Flattens a plan. Pure: the same plan and residents give the same arrays. */
export function layoutBatch(plan: StepPlan, context: BatchContext): Batch {
  const spans = [...plan.spans].sort((a, b) => compareSpans(a, b, context));
  const unordered = spans.flatMap((span) => rowsOf(span, context));
  const merged = unordered.filter(({ isMerged }) => isMerged).sort((a, b) => a.resident!.index - b.resident!.index);
  const rows = [...merged, ...unordered.filter(({ isMerged }) => !isMerged)];
  const { vocabSize } = context.config;
  const isExtra = (row: Row) => row.token >= vocabSize;

  const read = rows.flatMap((row, index) => (isRead(row) ? [index] : []));
  // A graph without output is none: a step of which nothing is read computes the logits of its last row nevertheless.
  const outputIndexes = read.length > 0 ? read : [rows.length - 1];
  const outputRows = outputIndexes.map((index) => rows[index]!);
  const extras = rows.flatMap((row, index) => (isExtra(row) ? [{ row, index }] : []));
  return {
    tokens: Int32Array.from(rows, (row) => (isExtra(row) ? 0 : row.token)),
    positions: Int32Array.from(rows, (row) => row.position),
    cells: BigInt64Array.from(rows, (row) => BigInt(row.region * context.contextLength + row.position)),
    merged: mergedOf(merged),
    runs: runsOf(rows, merged.length),
    vectorRows: vectorRowsOf(rows),
    attention: context.attendsByRow ? undefined : attentionLayout(rows, context),
    extraTokens:
      extras.length === 0
        ? undefined
        : {
            from: Int32Array.from(extras, ({ row }) => row.resident!.index * context.extraRows + row.token - vocabSize),
            to: BigInt64Array.from(extras, ({ index }) => BigInt(index)),
          },
    outputs: read.map((index) => rows[index]!.span),
    outputRows: Int32Array.from(outputIndexes),
    outputRuns: runsOf(outputRows, 0),
    outputVectorRows: vectorRowsOf(outputRows),
    extraOutput: outputRows.some(({ resident }) => resident && resident.vocabSize > vocabSize)
      ? Int32Array.from(outputRows.flatMap((row) => row.resident?.index ?? []))
      : undefined,
  };
}

/** Names everything about a batch that its graph depends on: batches of one key can be computed by one graph. */
export function shapeKey(batch: Batch): string {
  const runs = (list: readonly RunLayout[]) =>
    list.map((run) => `${run.classId}@${run.firstRow}+${run.slots.length}`).join(",");
  const { groups = [], gather } = batch.attention ?? {};
  return [
    batch.tokens.length,
    batch.merged.map(({ rows, slots }) => `${rows}:${[...slots.keys()].join("+")}`).join(","),
    runs(batch.runs),
    Boolean(batch.vectorRows),
    groups.map((g) => `${g.rows}x${g.sequences}@${g.firstRegion}:${g.cells}`).join(","),
    Boolean(gather),
    batch.extraTokens?.from.length,
    batch.outputRows.length,
    runs(batch.outputRuns),
    Boolean(batch.outputVectorRows),
    batch.extraOutput?.length,
  ].join("|");
}

/** The inverse of `gather`: each batch row's place in the groups' order. */
export function scatterOf(gather: Int32Array): Int32Array {
  const scatter = new Int32Array(gather.length);
  gather.forEach((row, place) => {
    scatter[row] = place;
  });
  return scatter;
}

function rowsOf(span: Span, context: BatchContext): Row[] {
  const { sequence, count } = span;
  const { region, computedTokens: start } = sequence;
  assert(
    region !== null && start + count <= context.contextLength,
    `sequence ${sequence.id} has no place for ${count} tokens`,
  );
  const resident = sequence.variant === null ? undefined : context.resident(sequence.variant);
  assert(sequence.variant === null || resident, `variant ${sequence.variant} is in a step but not resident`);
  const { length: promptTokens } = sequence.spec.prompt;
  const merges = promptTokens >= mergedPromptMin && isMergeable(resident, context);
  return Array.from({ length: count }, (_, i) => ({
    span,
    token: sequence.tokens[start + i]!,
    position: start + i,
    region,
    resident,
    // By the sequence alone: when its tokens are computed again, in whatever chunks, they are computed as they were.
    isMerged: merges && start + i < promptTokens,
  }));
}

function isMergeable(resident: ResidentVariant | undefined, { mergeable }: BatchContext): boolean {
  const parts = [...(resident?.slots.keys() ?? [])].map((classId) => mergeable.get(classId));
  return parts.includes("merged") && !parts.includes(undefined);
}

/** Whether its logits are read: the last row of a span that samples, and the last rows of one that is scored. */
function isRead({ position, span }: Row): boolean {
  const last = span.sequence.computedTokens + span.count - 1;
  return last - position < Math.max(span.samples ? 1 : 0, span.scored ?? 0);
}

/**
 * Rows of the same classes together, the base's last; then by region. Sets of classes are ordered as a reflected Gray code orders
 * bit strings: a class at the end of one stretch goes on at the start of the next, so that few are torn apart.
 */
function compareSpans(a: Span, b: Span, context: BatchContext): number {
  const isBase = ({ sequence }: Span) => Number(sequence.variant === null);
  if (isBase(a) !== isBase(b)) return isBase(a) - isBase(b);
  const classesOf = ({ sequence: { variant } }: Span) =>
    (variant === null ? undefined : context.resident(variant))?.slots;
  const [x, y] = [classesOf(a), classesOf(b)];
  let order = -1;
  for (const classId of [...new Set([...(x?.keys() ?? []), ...(y?.keys() ?? [])])].sort()) {
    if (x?.has(classId) !== y?.has(classId)) return x?.has(classId) ? order : -order;
    order = -order;
  }
  return a.sequence.region! - b.sequence.region!;
}

/** Stretches of rows of one variant. */
function mergedOf(rows: readonly Row[]): MergedLayout[] {
  const merged: MergedLayout[] = [];
  for (let firstRow = 0; firstRow < rows.length; ) {
    const { index, slots } = rows[firstRow]!.resident!;
    const next = rows.findIndex(({ resident }, row) => row > firstRow && resident!.index !== index);
    const end = next < 0 ? rows.length : next;
    merged.push({ firstRow, rows: end - firstRow, slots });
    firstRow = end;
  }
  return merged;
}

/** For every class, the maximal stretches of rows that have it, before a row and from it on. */
function runsOf(rows: readonly Row[], split: number): RunLayout[] {
  const runs: RunLayout[] = [];
  const classIds = new Set(rows.flatMap((row) => [...(row.resident?.slots.keys() ?? [])]));
  for (const classId of [...classIds].sort()) {
    let open: number[] = [];
    for (let index = 0; index <= rows.length; index++) {
      const slot = rows[index]?.resident?.slots.get(classId);
      if (open.length > 0 && (slot === undefined || index === split)) {
        runs.push({ classId, firstRow: index - open.length, slots: Int32Array.from(open) });
        open = [];
      }
      if (slot !== undefined) open.push(slot);
    }
  }
  return runs;
}

function vectorRowsOf(rows: readonly Row[]): Int32Array | undefined {
  if (rows.every((row) => row.resident === undefined)) return undefined;
  return Int32Array.from(rows, (row) => (row.resident ? row.resident.index + 1 : 0));
}

/** Single tokens of sequences in neighbouring regions attend together, longer spans each on their own. */
function attentionLayout(rows: readonly Row[], context: BatchContext): AttentionLayout {
  const order: number[] = [];
  const groups: GroupLayout[] = [];
  const indexed = rows.map((row, index) => ({ row, index }));
  const singles = indexed.filter(({ row }) => row.span.count === 1).sort((a, b) => a.row.region - b.row.region);
  for (let first = 0; first < singles.length; ) {
    let end = first + 1;
    while (end < singles.length && singles[end]!.row.region === singles[end - 1]!.row.region + 1) end += 1;
    const members = singles.slice(first, end);
    groups.push(
      groupOf(
        members.map(({ row }) => [row]),
        decodeCellsStep,
        context,
      ),
    );
    order.push(...members.map(({ index }) => index));
    first = end;
  }
  for (const span of new Set(rows.map((row) => row.span))) {
    if (span.count === 1) continue;
    const members = indexed.filter(({ row }) => row.span === span);
    groups.push(groupOf([members.map(({ row }) => row)], prefillCellsStep, context));
    order.push(...members.map(({ index }) => index));
  }
  const isIdentity = order.every((row, place) => row === place);
  return { groups, gather: isIdentity ? undefined : Int32Array.from(order) };
}

function groupOf(sequences: readonly (readonly Row[])[], cellsStep: number, context: BatchContext): GroupLayout {
  const rows = sequences[0]!.length;
  const needed = Math.max(...sequences.map((own) => own.at(-1)!.position + 1));
  const cells = Math.min(alignUp(needed, cellsStep), context.contextLength);
  const window = context.config.slidingWindow ?? Number.POSITIVE_INFINITY;
  const mask = new Uint16Array(sequences.length * rows * cells).fill(minusInfinity);
  sequences.flat().forEach(({ position }, row) => {
    mask.fill(0, row * cells + Math.max(0, position + 1 - window), row * cells + position + 1);
  });
  return { rows, sequences: sequences.length, firstRegion: sequences[0]![0]!.region, cells, mask };
}
