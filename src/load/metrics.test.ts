import assert from "node:assert/strict";
import { test } from "node:test";
import { markCold } from "./cold-starts.js";
import { printCsv } from "./load-csv.js";
import { drawRuns, scaleKept } from "./load-picture.js";
import { printRun, significant } from "./load-table.js";
import { distributionOf, jainIndex, meets, summarizeRun } from "./metrics.js";
import { e2eMs, type RequestRecord, tpotMs, ttftMs } from "./record.js";

/** Sent at 0, first output at 100, then one every 10 until 130: four tokens. */
const plain: RequestRecord = {
  index: 0,
  model: "a",
  client: 0,
  plannedMs: 0,
  sentMs: 0,
  firstMs: 100,
  endMs: 130,
  gapsMs: [10, 10, 10],
  promptTokens: 7,
  outputTokens: 4,
  isCold: false,
  failure: null,
};
const refused = { code: "overloaded", message: "The queue is full" };

test("latencies of a request are vLLM's", () => {
  assert.deepEqual([ttftMs(plain), tpotMs(plain), e2eMs(plain)], [100, 10, 130]);
  const later = { ...plain, plannedMs: 1000, sentMs: 1005, firstMs: 1105, endMs: 1135 };
  assert.deepEqual([ttftMs(later), tpotMs(later), e2eMs(later)], [100, 10, 130]);
  const single = { ...plain, outputTokens: 1, endMs: 100, gapsMs: [] };
  assert.deepEqual([ttftMs(single), tpotMs(single), e2eMs(single)], [100, null, 100]);
});

test("percentiles lie on straight lines between values", () => {
  const { count, mean, median, p90, p99 } = distributionOf([40, 10, 30, 20])!;
  assert.deepEqual([count, mean, median], [4, 25, 25]);
  assert.ok(Math.abs(p90 - 37) < 1e-9 && Math.abs(p99 - 39.7) < 1e-9);
  assert.equal(distributionOf([]), null);
});

test("a run counts complete, failed and cut requests apart, and throughput over the time until the last answer", () => {
  const records = [
    plain,
    { ...plain, model: "b", sentMs: 1000, firstMs: 1900, endMs: 2000, gapsMs: [100], outputTokens: 2 },
    { ...plain, firstMs: null, endMs: 5, gapsMs: [], outputTokens: 0, promptTokens: null, failure: refused },
    { ...plain, endMs: 9000, failure: { code: "interrupted", message: "" } },
  ];
  const run = summarizeRun(records, { ttftMs: 500 });
  assert.deepEqual([run.sent, run.completed, run.failed, run.interrupted], [4, 2, 1, 1]);
  assert.deepEqual(run.errors, { overloaded: 1 });
  assert.equal(run.seconds, 2);
  assert.deepEqual([run.requestThroughput, run.outputThroughput, run.tokenThroughput], [1, 3, 10]);
  assert.equal(run.ttftMs?.mean, 500);
  assert.equal(run.itlMs?.count, 4);
  assert.deepEqual([run.attainment, run.goodput], [1 / 3, 0.5]);
  assert.deepEqual(
    run.models.map(({ model, summary }) => [model, summary.completed, summary.attainment]),
    [
      ["a", 1, 0.5],
      ["b", 1, 0],
    ],
  );
  assert.equal(summarizeRun(records, {}).attainment, null);
});

test("a run of which nothing came is summarised all the same", () => {
  for (const records of [[], [{ ...plain, firstMs: null, outputTokens: 0, failure: refused }]]) {
    const run = summarizeRun(records, { e2eMs: 1 });
    assert.equal(run.ttftMs, null);
    assert.equal(run.requestThroughput, 0);
    assert.match(printRun(run, { e2eMs: 1 }), /0 complete/);
    assert.match(drawRuns("none", [{ name: "all", records }], {}), /^<svg[\s\S]*<\/svg>\n$/);
  }
});

test("a request is good when it keeps every limit, and only when it is complete", () => {
  assert.ok(meets(plain, { ttftMs: 100, tpotMs: 10, e2eMs: 130 }));
  assert.ok(!meets(plain, { ttftMs: 100, tpotMs: 9 }));
  assert.ok(meets(plain, { ttftMs: 50 }, 2));
  assert.ok(meets({ ...plain, outputTokens: 1 }, { tpotMs: 1 }));
  assert.ok(!meets({ ...plain, failure: refused }, { ttftMs: 1000 }));
  assert.equal(scaleKept(plain, { ttftMs: 200, e2eMs: 65 }), 2);
});

test("Jain's index is 1 for equal service and 1 / n where one of n has it all", () => {
  assert.equal(jainIndex([3, 3, 3]), 1);
  assert.equal(jainIndex([1, 0, 0, 0]), 0.25);
  assert.ok(Math.abs(jainIndex([1, 2, 3]) - 36 / 42) < 1e-12);
  const slower = { ...plain, client: 1, endMs: 390 };
  // 4 tokens in 130 ms and in 390 ms: speeds of 3 to 1.
  assert.ok(Math.abs(summarizeRun([plain, slower], {}).clientFairness! - 16 / 20) < 1e-12);
  assert.equal(summarizeRun([plain], {}).clientFairness, null);
});

test("the first request that waited for a load is cold, and without known loads each model's first", () => {
  const at = (index: number, model: string, sentMs: number) => ({
    ...plain,
    index,
    model,
    sentMs,
    firstMs: sentMs + 100,
    endMs: sentMs + 130,
  });
  const records = [at(0, "a", 0), at(1, "a", 20), at(2, "a", 500), at(3, "b", 600), at(4, "base", 700)];
  const coldOf = (options: Parameters<typeof markCold>[1]) =>
    markCold(records, options).flatMap(({ index, isCold }) => (isCold ? [index] : []));
  const mayLoad = (model: string) => model !== "base";
  const loads = [
    { model: "a", atMs: 50 },
    { model: "a", atMs: 300 },
    { model: "a", atMs: 550 },
  ];
  assert.deepEqual(coldOf({ loads, mayLoad }), [0, 2]);
  assert.deepEqual(coldOf({ mayLoad }), [0, 3]);
  const run = summarizeRun(markCold(records, { mayLoad }), {});
  assert.deepEqual([run.coldTtftMs?.count, run.warmTtftMs?.count], [2, 3]);
});

test("the table, the CSV and the picture say what was measured", () => {
  const records = [plain, { ...plain, index: 1, model: "b,c", isCold: true, client: 1, firstMs: 110, endMs: 140 }];
  const table = printRun(summarizeRun(records, { ttftMs: 105 }), { ttftMs: 105 });
  assert.match(table, /2 requests in 0\.1 s: 2 complete/);
  assert.match(table, /TTFT +2 +105 +105 +109 +110/);
  assert.match(table, /50\.0 % kept TTFT ≤ 105 ms/);
  assert.match(table, /Jain's index over clients 0\.999/);
  const [head, first, second] = printCsv(records)
    .split("\n")
    .map((row) => row.split(","));
  const rowOf = (row: string[] | undefined) => Object.fromEntries(head!.map((column, index) => [column, row![index]]));
  assert.equal(rowOf(first).ttft_ms, "100.000");
  assert.deepEqual([rowOf(second).model, rowOf(second).cold, rowOf(second).error], ["b_c", "1", ""]);
  const picture = drawRuns("Two & more", [{ name: "all", records }], { ttftMs: 105 });
  assert.match(picture, /Two &amp; more/);
  assert.match(picture, /multiple of TTFT ≤ 105 ms/);
  assert.ok(!picture.includes("NaN") && !picture.includes("Infinity"));
});

test("numbers have three digits that count", () => {
  assert.deepEqual([0, 0.01234, 4.567, 56.78, 789.1, 12345].map(significant), [
    "0",
    "0.0123",
    "4.57",
    "56.8",
    "789",
    "12345",
  ]);
});
