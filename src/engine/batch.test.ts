import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Batch, layoutBatch, scatterOf, shapeKey } from "./batch.js";
import {
  context,
  firstToken,
  layout,
  planOf,
  printGroups,
  printMask,
  printMerged,
  printRows,
  printRuns,
  residents,
  span,
  vocabSize,
} from "./batch.test.kit.js";

test("a prompt's rows follow each other; its last one wants logits", () => {
  const batch = layout("a/2 0+4!");
  assert.equal(printRows(batch), "2.0 2.1 2.2 2.3");
  assert.deepEqual([...batch.tokens], [100, 101, 102, 103]);
  assert.deepEqual([...batch.outputRows], [3]);
  assert.deepEqual(printGroups(batch), ["4x1 from 2, 64 cells"]);
  assert.equal(batch.attention!.gather, undefined);
  assert.deepEqual(
    [batch.runs, batch.vectorRows, batch.outputRuns, batch.extraTokens, batch.extraOutput],
    [[], undefined, [], undefined, undefined],
  );
});

test("a later chunk starts where the cache ends", () => {
  const batch = layout("a/1 60+3");
  assert.equal(printRows(batch), "1.60 1.61 1.62");
  assert.deepEqual([...batch.tokens], [firstToken + 60, firstToken + 61, firstToken + 62]);
  assert.deepEqual(printMask(batch, 0), ["0…60", "0…61", "0…62"]);
});

test("single tokens of sequences in neighbouring regions attend as one group, ordered by region", () => {
  const batch = layout("c/2 7+1!", "a/0 30+1!", "b/1 5+1!");
  assert.equal(printRows(batch), "0.30 1.5 2.7");
  assert.deepEqual(printGroups(batch), ["1x3 from 0, 256 cells"]);
  assert.deepEqual(printMask(batch, 0), ["0…30", "0…5", "0…7"]);
  assert.deepEqual(
    batch.outputs.map(({ sequence }) => sequence.id),
    ["a", "b", "c"],
  );
});

test("a gap between regions begins a new group", () => {
  assert.deepEqual(printGroups(layout("a/0 1+1!", "b/1 1+1!", "c/3 1+1!")), [
    "1x2 from 0, 256 cells",
    "1x1 from 3, 256 cells",
  ]);
});

test("longer spans attend on their own, after the single tokens, in the order that gather gives", () => {
  const batch = layout("a/0 0+3!", "b/1 9+1!", "c/2 0+2");
  assert.equal(printRows(batch), "0.0 0.1 0.2 1.9 2.0 2.1");
  assert.deepEqual(printGroups(batch), ["1x1 from 1, 256 cells", "3x1 from 0, 64 cells", "2x1 from 2, 64 cells"]);
  assert.deepEqual([...batch.attention!.gather!], [3, 0, 1, 2, 4, 5]);
  assert.deepEqual([...scatterOf(batch.attention!.gather!)], [1, 2, 3, 0, 4, 5]);
  assert.deepEqual([...batch.outputRows], [2, 3]);
});

test("rows of variants come first, those with parts of one class side by side, the base's last", () => {
  const batch = layout(
    "base/0 4+1!",
    "one@clinc/1 4+1!",
    "two@dates/2 4+1!",
    "digit@roman/3 4+1!",
    "also@clinc/4 4+1!",
  );
  assert.equal(printRows(batch), "1.4 4.4 2.4 3.4 0.4");
  assert.deepEqual(printRuns(batch.runs), ["q1_0.1 0…2 [4 4 0]", "q1_0.2 2…2 [7]", "q4_0.1 3…3 [1]"]);
  assert.deepEqual([...batch.vectorRows!], [1, 1, 2, 3, 0]);
  assert.deepEqual([...batch.attention!.gather!], [4, 0, 2, 3, 1], "attention still goes by region");
});

test("planes, factors and both are one stretch of each class", () => {
  const batch = layout("a@lora/0 4+1!", "b@clinc/1 4+1!", "base/2 4+1!", "c@both/3 4+1!", "d@lora/4 4+1!");
  assert.equal(printRows(batch), "0.4 4.4 3.4 1.4 2.4");
  assert.deepEqual(printRuns(batch.runs), ["f16x8 0…2 [3 3 0]", "q1_0.1 2…3 [1 4]"]);
});

test("every row of a variant's prompt has its parts, and of the outputs those that want logits", () => {
  const batch = layout("two@dates/0 0+3!", "one@clinc/1 0+2", "base/2 0+2!");
  assert.deepEqual(printRuns(batch.runs), ["q1_0.1 0…4 [4 4 0 0 0]", "q1_0.2 2…4 [7 7 7]"]);
  assert.deepEqual([...batch.outputRows], [4, 6]);
  assert.deepEqual(printRuns(batch.outputRuns), ["q1_0.1 0…0 [0]", "q1_0.2 0…0 [7]"]);
  assert.deepEqual([...batch.outputVectorRows!], [2, 0]);
});

test("a step that draws nothing has one output, which is nobody's", () => {
  const batch = layout("a@clinc/0 0+3", "b/1 0+2");
  assert.deepEqual(batch.outputs, []);
  assert.deepEqual([...batch.outputRows], [4]);
  assert.equal(batch.outputVectorRows, undefined, "it is the base's row");
});

test("attention looks as far as the longest of its sequences, in steps of 256 to decode and 64 for prompts", () => {
  const widths = (...notations: string[]) => layout(...notations).attention!.groups.map(({ cells }) => cells);
  assert.deepEqual(widths("a/0 255+1!"), [256]);
  assert.deepEqual(widths("a/0 256+1!", "b/1 3+1!"), [512]);
  assert.deepEqual(widths("a/0 0+64!"), [64]);
  assert.deepEqual(widths("a/0 63+2!"), [128]);
});

test("attention never looks beyond a region", () => {
  const batch = layoutBatch(planOf("a/1 98+1!", "b/3 90+9!"), context({ contextLength: 100 }));
  assert.deepEqual(
    batch.attention!.groups.map(({ cells }) => cells),
    [100, 100],
  );
  assert.equal(printRows(batch, 100), "1.98 3.90 3.91 3.92 3.93 3.94 3.95 3.96 3.97 3.98");
});

test("a sliding window hides what lies further back, for prompts and while decoding", () => {
  const batch = layoutBatch(planOf("a/0 0+5!", "b/1 9+1!", "c/2 1+1!"), context({ slidingWindow: 3 }));
  assert.deepEqual(printMask(batch, 0), ["7…9", "0…1"]);
  assert.deepEqual(printMask(batch, 1), ["0…0", "0…1", "0…2", "1…3", "2…4"]);
});

test("what a mask hides is −∞ and not a large number", () => {
  const { mask } = layout("a/0 0+2!").attention!.groups[0]!;
  assert.deepEqual([...mask.subarray(0, 3)], [0, 0xfc00, 0xfc00]);
});

test("tokens beyond the base's vocabulary come from their variant's own rows", () => {
  const extra = span("a@kana/0 0+3!", { 1: vocabSize + 6 });
  const batch = layoutBatch(planOf("b@dates/1 0+2!", extra), context());
  assert.equal(printRows(batch), "0.0 0.1 0.2 1.0 1.1");
  assert.deepEqual([...batch.tokens], [100, 0, 102, 100, 101]);
  assert.deepEqual([...batch.extraTokens!.from], [residents.kana!.index * 16 + 6]);
  assert.deepEqual([...batch.extraTokens!.to], [1n]);
});

test("when an output's variant has words of its own, every variant's output is looked up, and no base's", () => {
  const batch = layout("a@kana/0 0+1!", "b/1 0+1!", "c@dates/2 0+1!");
  assert.equal(printRows(batch), "0.0 2.0 1.0");
  assert.deepEqual([...batch.extraOutput!], [residents.kana!.index, residents.dates!.index]);
  assert.equal(layout("b/1 0+1!", "c@dates/2 0+1!").extraOutput, undefined);
});

test("a variant that is not resident and a span beyond its region are mistakes of the caller", () => {
  assert.throws(() => layout("a@ghost/0 0+1!"), /variant ghost is in a step but not resident/);
  assert.throws(() => layout("a/0 510+3!"), /sequence a has no place for 3 tokens/);
});

test("steady decoding keeps its shape key until attention must look further", () => {
  const at = (position: number) => shapeKey(layout(`a/0 ${position}+1!`, `b@clinc/1 ${position - 1}+1!`));
  assert.equal(at(10), at(255));
  assert.notEqual(at(255), at(256));
});

test("which slot and which variant does not change the shape key; which classes does", () => {
  const key = (notation: string) => shapeKey(layout(notation));
  assert.equal(
    key("a@clinc/0 3+1!"),
    shapeKey(
      layoutBatch(
        planOf("a@clinc/0 3+1!"),
        context({ resident: () => ({ ...residents.clinc!, index: 9, slots: new Map([["q1_0.1", 8]]) }) }),
      ),
    ),
  );
  const kinds = [
    "a/0 3+1!",
    "a@clinc/0 3+1!",
    "a@dates/0 3+1!",
    "a@roman/0 3+1!",
    "a@lora/0 3+1!",
    "a@kana/0 3+1!",
    "a/1 3+1!",
    "a/0 3+2!",
  ];
  assert.equal(new Set(kinds.map(key)).size, kinds.length);
});

const merging = context({
  mergeable: new Map([
    ["q1_0.1", "merged"],
    ["q1_0.2", "merged"],
    ["f16x8", "added"],
  ]),
});

test("rows of a long prompt come first, to be merged; its answer and short prompts are computed as ever", () => {
  const batch = layoutBatch(
    planOf("a/0 20+1!", "b@dates/1 30+1! of 20", "c@clinc/2 0+15!", "d@dates/3 0+16!", "e@clinc/4 8+20! of 16"),
    merging,
  );
  assert.deepEqual(printMerged(batch), ["0…7 {q1_0.1 4}", "8…23 {q1_0.1 0, q1_0.2 7}"]);
  assert.deepEqual(
    printRuns(batch.runs).map((run) => run.replace(/ \[.*/, "")),
    ["q1_0.1 0…23", "q1_0.1 24…51", "q1_0.2 8…23", "q1_0.2 51…51"],
  );
  assert.equal(batch.positions[0], 8);
  assert.equal(batch.tokens.length, 53);
});

test("prompts of one variant are merged together, whatever comes between them", () => {
  const batch = layoutBatch(planOf("a@clinc/0 0+16!", "b@kana/1 0+16!", "c@clinc/2 0+20!"), merging);
  assert.deepEqual(printMerged(batch), ["0…35 {q1_0.1 4}", "36…51 {q1_0.1 2}"]);
});

test("a chunk is merged if the prompt is long enough, however short the chunk", () => {
  assert.deepEqual(printMerged(layoutBatch(planOf("a@clinc/0 10+3 of 16"), merging)), ["0…2 {q1_0.1 4}"]);
  assert.deepEqual(printMerged(layoutBatch(planOf("a@clinc/0 14+1! of 15"), merging)), []);
  assert.deepEqual(printMerged(layoutBatch(planOf("a@clinc/0 14+2! of 16"), merging)), ["0…1 {q1_0.1 4}"]);
  assert.deepEqual(printMerged(layoutBatch(planOf("a@clinc/0 16+1! of 16"), merging)), []);
});

test("factors do not keep planes from being merged", () => {
  const batch = layoutBatch(planOf("a@both/0 0+16!", "b@lora/1 0+16!"), merging);
  assert.deepEqual(printMerged(batch), ["0…15 {q1_0.1 1, f16x8 0}"]);
});

test("variants with parts that are not to be merged, or none that are, and the base, are not", () => {
  const batch = layoutBatch(planOf("a/0 0+40!", "c@lora/2 0+40!", "d@roman/3 0+40!"), merging);
  assert.deepEqual(printMerged(batch), []);
});

const anySpan = (region: number) =>
  fc
    .record({
      variant: fc.constantFrom("", "@clinc", "@dates", "@roman", "@kana", "@lora", "@both"),
      computed: fc.nat({ max: 300 }),
      count: fc.constantFrom(1, 1, 1, 2, 7, 70),
      end: fc.constantFrom("!", ""),
      isExtra: fc.boolean(),
      promptShare: fc.constantFrom(1, 1, 0.5, 0.9),
    })
    .map(({ variant, computed, count, end, isExtra, promptShare }) => {
      const ends = count === 1 ? "!" : end;
      const tokens: Record<number, number> = isExtra && variant === "@kana" ? { [computed]: vocabSize + 3 } : {};
      const prompted = Math.max(1, Math.floor(promptShare * (computed + count)));
      return span(`s${region}${variant}/${region} ${computed}+${count}${ends} of ${prompted}`, tokens);
    });
const anyPlan = fc
  .subarray([0, 1, 2, 3, 4, 5], { minLength: 1 })
  .chain((regions) => fc.tuple(...regions.map(anySpan)))
  .map((spans) => planOf(...spans));

test("whatever is planned, each token is one row, and each row is in one place of one group", () => {
  fc.assert(
    fc.property(anyPlan, (plan) => {
      const batch = layoutBatch(plan, merging);
      const rows = plan.spans.reduce((sum, { count }) => sum + count, 0);
      assert.equal(batch.tokens.length, rows);
      assert.equal(new Set(batch.cells).size, rows, "two rows write one cell");
      const order = batch.attention!.gather
        ? [...batch.attention!.gather]
        : Array.from({ length: rows }, (_, row) => row);
      assert.deepEqual(
        [...order].sort((a, b) => a - b),
        Array.from({ length: rows }, (_, row) => row),
      );
      assert.equal(
        batch.attention!.groups.reduce((sum, group) => sum + group.rows * group.sequences, 0),
        rows,
      );

      // Attention's queries, in the groups' order, must lie in the regions and at the positions that the groups say.
      let place = 0;
      for (const { rows: own, sequences, firstRegion, cells, mask } of batch.attention!.groups) {
        for (let at = 0; at < own * sequences; at++, place++) {
          const row = order[place]!;
          assert.equal(Number(batch.cells[row]), (firstRegion + Math.floor(at / own)) * 512 + batch.positions[row]!);
          const seen = mask.subarray(at * cells, (at + 1) * cells).filter((value) => value === 0).length;
          assert.equal(seen, batch.positions[row]! + 1);
        }
      }
      const parts = plan.spans.reduce((sum, { sequence, count }) => {
        return sum + count * (sequence.variant === null ? 0 : residents[sequence.variant]!.slots.size);
      }, 0);
      assert.equal(
        batch.runs.reduce((sum, { slots }) => sum + slots.length, 0),
        parts,
      );
      const baseRows = plan.spans.reduce(
        (sum, { sequence, count }) => sum + (sequence.variant === null ? count : 0),
        0,
      );
      assert.ok(
        batch.runs.every(({ firstRow, slots }) => firstRow + slots.length <= rows - baseRows),
        "a base row has a part",
      );

      const mergedRows = batch.merged.reduce((sum, { firstRow, rows: own }) => {
        assert.equal(firstRow, sum, "merged rows are not the first");
        return sum + own;
      }, 0);
      assert.ok(
        batch.runs.every(({ firstRow, slots }) => firstRow >= mergedRows || firstRow + slots.length <= mergedRows),
        "a run has merged rows and others",
      );
    }),
  );
});

/** Everything that a graph built for the batch takes for granted. */
function shapes(batch: Batch): unknown {
  const lengths = (value: unknown): unknown => {
    if (ArrayBuffer.isView(value)) return (value as Uint8Array).length;
    if (Array.isArray(value)) return value.map(lengths);
    if (typeof value === "object" && value !== null)
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, lengths(v)]));
    return value;
  };
  return lengths({ ...batch, outputs: null });
}

test("batches have one shape key if and only if they have the same shapes", () => {
  fc.assert(
    fc.property(anyPlan, anyPlan, (a, b) => {
      const [x, y] = [layoutBatch(a, merging), layoutBatch(b, merging)];
      assert.equal(shapeKey(x) === shapeKey(y), JSON.stringify(shapes(x)) === JSON.stringify(shapes(y)));
      assert.equal(shapeKey(layoutBatch(a, merging)), shapeKey(x));
    }),
    { numRuns: 200 },
  );
});

test("the order in which spans were planned does not matter", () => {
  fc.assert(
    fc.property(anyPlan, (plan) => {
      const forwards = layoutBatch(plan, merging);
      const backwards = layoutBatch({ ...plan, spans: [...plan.spans].reverse() }, merging);
      assert.deepEqual({ ...backwards, outputs: null }, { ...forwards, outputs: null });
    }),
  );
});
