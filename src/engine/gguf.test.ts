import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { openCheckpoint } from "../formats/index.js";
import { spec, Workbench } from "./workbench.test.kit.js";

const folder = "test/fixtures/TinyStories-656K";
const file = `${folder}/TinyStories-656K-Q8_0.gguf`;

interface Row {
  readonly prompt: string;
  readonly tokens: number[];
  /** Token and natural log probability, the likeliest first. */
  readonly logits: [number, number][];
}

test("a GGUF file gives the distributions that llama.cpp gives on the same file", async () => {
  await using checkpoint = await openCheckpoint(file);
  using bench = await Workbench.open(checkpoint, { dtype: "auto", kvDType: "f16" });
  const rows = JSON.parse(readFileSync(`${folder}/llama-cpp.json`, "utf8")) as Row[];
  for (const { prompt, tokens, logits } of rows) {
    const own = bench.run([spec("a", tokens)]).get("a")!.logits[0]!;
    const max = own.reduce((a, b) => Math.max(a, b));
    const logSum = max + Math.log(own.reduce((sum, logit) => sum + Math.exp(logit - max), 0));
    assert.equal(own.indexOf(max), logits[0]![0], prompt);
    for (const [token, expected] of logits) {
      const difference = Math.abs(own[token]! - logSum - expected);
      // Both round activations to 8 bits before each product; the order of sums before that differs.
      assert.ok(difference < 0.002, `${prompt}: token ${token} is off by ${difference}`);
    }
  }
});
