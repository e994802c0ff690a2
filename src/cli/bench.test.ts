import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { after, before, test } from "node:test";
import type { RunSummary, WorkloadStatistics } from "../load/index.js";
import { base, startServer, testEngine, variants } from "./service.test.kit.js";

let folder: string;
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "kindred-bench-"));
});
after(() => rm(folder, { recursive: true }));

/** Runs `kindred bench`; `during` may do something to it meanwhile. */
async function bench(args: readonly string[], during: (child: ReturnType<typeof spawn>) => void = () => {}) {
  const child = spawn(process.execPath, ["dist/cli/main.js", "bench", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  during(child);
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const [out, errors, code] = await Promise.all([text(child.stdout!), text(child.stderr!), ended]);
  return { out, errors, code };
}

async function json<T>(name: string): Promise<T> {
  return JSON.parse(await readFile(path.join(folder, name), "utf8")) as T;
}

test("a run against the embedded family measures every request, cold ones apart, and its CSV is a trace", async () => {
  const at = (name: string) => path.join(folder, name);
  const quick = [
    "--base",
    base,
    "--variants",
    variants,
    "--threads",
    "1",
    "--prompt-tokens",
    "16,40",
    "--output-tokens",
    "4",
  ];
  const files = ["--json", at("run.json"), "--csv", at("run.csv"), "--picture", at("run.svg")];
  const first = await bench([...quick, "--rate", "20", "--requests", "12", "--slo", "ttft=60000", ...files]);
  assert.equal(first.code, 0, first.errors);
  assert.match(first.out, /12 requests in .* s: 12 complete/);
  const { summary, statistics, models } = await json<{
    summary: RunSummary;
    statistics: WorkloadStatistics;
    models: readonly string[];
  }>("run.json");
  assert.equal(models.length, 7);
  assert.deepEqual([summary.completed, summary.failed, summary.attainment], [12, 0, 1]);
  assert.equal(summary.coldTtftMs?.count, statistics.models, "each variant was loaded once");
  assert.ok(summary.ttftMs!.mean > 0);
  assert.equal(summary.outputTokens, 48, "answers have the length that was asked for");
  assert.match(await readFile(at("run.svg"), "utf8"), /cold/);
  const csv = await readFile(at("run.csv"), "utf8");
  assert.equal(csv.trim().split("\n").length, 13);

  const again = await bench([
    ...quick.slice(0, 6),
    "--trace",
    at("run.csv"),
    "--speed",
    "2",
    "--json",
    at("again.json"),
  ]);
  assert.equal(again.code, 0, again.errors);
  assert.equal((await json<{ summary: RunSummary }>("again.json")).summary.completed, 12);
});

test("a run against a server by its URL asks its models, and what cannot be served is counted by its code", async () => {
  await using running = await startServer({ engine: { ...testEngine, contextLength: 128 } });
  const url = ["--url", `${running.server.url}/v1`];
  const prompts = path.join(folder, "prompts.jsonl");
  await writeFile(prompts, '{"messages": [{"role": "user", "content": "1987"}], "answer": "M C M L X X X V I I"}\n');
  const roman = ["--model", "roman", "--prompts", prompts, "--output-tokens", "30"];
  const { out, code, errors } = await bench([
    ...url,
    ...roman,
    "--rate",
    "20",
    "--requests",
    "3",
    "--api-key",
    "a",
    "b",
  ]);
  assert.equal(code, 0, errors);
  assert.match(out, /3 complete/);
  assert.match(out, /Jain's index over clients/);
  assert.match(out, /answers of 30\.0, in the mean/);
  const own = [...url, ...roman, "--rate", "20", "--requests", "1", "--no-ignore-eos"];
  assert.equal((await bench([...own, "--json", path.join(folder, "own.json")])).code, 0);
  assert.ok((await json<{ summary: RunSummary }>("own.json")).summary.outputTokens < 30, "the model ends its answer");
  const tooLong = await bench([
    ...url,
    ...roman.slice(0, 4),
    "--output-tokens",
    "500",
    "--rate",
    "20",
    "--requests",
    "2",
  ]);
  assert.match(tooLong.out, /2 failed \(2 context_length_exceeded\)/);
  const unknown = await bench([...url, "--model", "none"]);
  assert.equal(unknown.code, 1);
  assert.match(unknown.errors, /no model "none"; it lists .*roman/);
});

test("Ctrl-C prints what there is so far", async () => {
  await using running = await startServer({ engine: testEngine });
  const { out, code } = await bench(
    [
      "--url",
      `${running.server.url}/v1`,
      "--model",
      "roman",
      "--requests",
      "100",
      "--rate",
      "1",
      "--output-tokens",
      "4",
    ],
    (child) => {
      child.stdout!.once("data", () => setTimeout(() => child.kill("SIGINT"), 700));
    },
  );
  assert.equal(code, 0);
  assert.match(out, /^\d requests in .* s: \d complete/m);
});

test("flags that would say nothing are refused", async () => {
  const cases: readonly [string[], RegExp][] = [
    [[], /give --url of a server, or --base/],
    [["--url", "http://x/v1", "--threads", "1"], /threads cannot be chosen/],
    [["--base", base, "--trace", "x.csv", "--rate", "2"], /cannot be used with/],
    [["--base", base, "--arrivals", "weibull:2"], /see the end of --help/],
    [["--base", base, "--slo", "itl=2"], /expected ttft=MS/],
  ];
  await Promise.all(
    cases.map(async ([args, expected]) => {
      const { errors, code } = await bench(args);
      assert.equal(code, 1);
      assert.match(errors, expected);
    }),
  );
});
