// Whole passes where memory is not the host's; see src/ggml/vulkan.test.ts for what it takes.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { isInstalled } from "../ggml/index.js";
import type { LogitsReport } from "./vulkan-program.test.kit.js";

// A software driver takes half a minute to compile the products of several rows, so prompts are computed token by token.
const stepTokens = process.env.KINDRED_SLOW_TESTS ? 64 : 1;

async function logitsOn(kind: "cpu" | "vulkan"): Promise<LogitsReport> {
  const program = fileURLToPath(new URL("./vulkan-program.test.kit.js", import.meta.url));
  const env = { GGML_VK_VISIBLE_DEVICES: "0", ...process.env };
  // Mesa's software driver sometimes reads what it has freed (seen with valgrind in 22.3) and takes the process down: twice
  // is bad luck, three times is a machine without a usable driver.
  let crash = "";
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const { stdout, stderr } = await promisify(execFile)(process.execPath, [program, kind, `${stepTokens}`], {
        env,
        maxBuffer: 1 << 26,
      });
      assert.equal(stderr, "");
      return JSON.parse(stdout) as LogitsReport;
    } catch (error) {
      const { signal } = error as { signal?: string };
      if (!signal) throw error;
      crash = signal;
    }
  }
  return { unavailable: `the driver ended the process with ${crash} three times` };
}

test("on Vulkan the base and its variants have the CPU's logits, within a fiftieth of their length", async (t) => {
  if (!isInstalled("vulkan")) return t.skip("the package @node-llama-cpp/linux-x64-vulkan is not installed");
  const vulkan = await logitsOn("vulkan");
  if ("unavailable" in vulkan) return t.skip(vulkan.unavailable);
  t.diagnostic(vulkan.device);
  const cpu = await logitsOn("cpu");
  assert.ok("logits" in cpu);
  assert.deepEqual(Object.keys(vulkan.logits), Object.keys(cpu.logits));
  for (const [name, expected] of Object.entries(cpu.logits)) {
    await t.test(name, () => {
      const actual = vulkan.logits[name]!;
      assert.equal(actual.length, expected.length);
      const length = (values: readonly number[]) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
      const error = length(expected.map((value, token) => value - actual[token]!)) / length(expected);
      t.diagnostic(`${name}: ${error.toExponential(1)}`);
      // Most of it is the CPU's, which rounds activations to eight bits where weights are blocks.
      assert.ok(error <= 0.02, `differs by ${error} of its length`);
    });
  }
});
