import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { InvalidFile } from "../core/index.js";
import { readTrace } from "./trace.js";
import { tracedWorkload } from "./traced-workload.js";

let folder: string;
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "kindred-trace-"));
});
after(() => rm(folder, { recursive: true }));

async function traceOf(name: string, content: string) {
  const file = path.join(folder, name);
  await writeFile(file, content);
  return readTrace(file);
}

test("a trace is read in each of the known forms, from its first request on and in order", async () => {
  const azure =
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:04.9799600,30,8\n2023-11-16 18:17:03.9799600,4808,10\n";
  assert.deepEqual(await traceOf("azure.csv", azure), [
    { atMs: 0, model: null, promptTokens: 4808, outputTokens: 10 },
    { atMs: 1000, model: null, promptTokens: 30, outputTokens: 8 },
  ]);
  const alibaba =
    "gmt_create,predict_type,checkpoint_model_version_id\r\n2024-11-15 16:57:50,T,M0000\r\n2024-11-15 16:57:52,T,M1\r\n";
  assert.deepEqual((await traceOf("alibaba.csv", alibaba))[1], {
    atMs: 2000,
    model: "M1",
    promptTokens: null,
    outputTokens: null,
  });
  const mooncake =
    '{"timestamp": 5, "input_length": 7, "output_length": 0, "hash_ids": [1]}\n\n{"timestamp": 30, "input_length": 1, "output_length": 2}\n';
  assert.deepEqual(await traceOf("mooncake.jsonl", mooncake), [
    { atMs: 0, model: null, promptTokens: 7, outputTokens: 1 },
    { atMs: 25, model: null, promptTokens: 1, outputTokens: 2 },
  ]);
  const own = '{"at_seconds": 1.5, "model": "roman", "prompt_tokens": 3}\n';
  assert.deepEqual(await traceOf("own.jsonl", own), [{ atMs: 0, model: "roman", promptTokens: 3, outputTokens: null }]);
});

test("a trace that is none is refused by name of the line", async () => {
  const cases: readonly [name: string, content: string, expected: RegExp][] = [
    [
      "a.csv",
      "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:04,1,2\nnoon,1,2\n",
      /line 3 has no time.*"noon"/,
    ],
    ["b.csv", "at_seconds,prompt_tokens\n1,2\n\n2\n", /line 4 has 1 cells, the first line names 2/],
    ["c.csv", "at_seconds,prompt_tokens\n1,\n2,some\n", /line 3 has no number of tokens in prompt_tokens: "some"/],
    ["d.csv", "when,what\n1,2\n", /line 2 has no time: expected one of at_seconds, TIMESTAMP.* got when, what/],
    ["e.jsonl", '{"at_seconds": 1}\n{"at_seconds": \n', /line 2 is not JSON/],
    ["f.jsonl", "[1]\n", /line 1 is no JSON object/],
    ["g.jsonl", '{"at_seconds": 1, "model": 7}\n', /line 1 has no name of a model/],
    ["h.jsonl", "", /no request in it/],
    ["i.txt", "", /a \.csv or a \.jsonl file/],
  ];
  for (const [name, content, expected] of cases)
    await assert.rejects(
      traceOf(name, content),
      (error) => error instanceof InvalidFile && expected.test(error.message),
    );
  await assert.rejects(readTrace(path.join(folder, "none.csv")), InvalidFile);
});

test("a trace is replayed at another speed, by the models there are, with the rest drawn", () => {
  const row = (atMs: number, model: string | null, promptTokens: number | null = null) => {
    return { atMs, model, promptTokens, outputTokens: null };
  };
  const rows = [
    row(0, "rare", 9),
    row(1000, "much"),
    row(2000, "much"),
    row(3000, "odd"),
    row(4000, null),
    row(9000, "much"),
  ];
  const planned = tracedWorkload(rows, {
    seed: 1,
    models: ["a", "b"],
    popularity: { kind: "single" },
    promptTokens: [5],
    outputTokens: [6],
    clients: 1,
    untilMs: 4000,
    requestsMax: 5,
    speed: 2,
  });
  assert.deepEqual(
    planned.map(({ atMs, model, promptTokens, outputTokens }) => [atMs, model, promptTokens, outputTokens]),
    [
      [0, "b", 9, 6],
      [500, "a", 5, 6],
      [1000, "a", 5, 6],
      [1500, "a", 5, 6],
      [2000, "a", 5, 6],
    ],
  );
});
