// The path where memory is not the host's, run for real where there is a Vulkan driver: Mesa's software one will do
// (Debian's mesa-vulkan-drivers) beside the package @node-llama-cpp/linux-x64-vulkan.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Device } from "./device.js";
import { isInstalled } from "./library.js";
import { exactProducts, othersOn, productCases } from "./operations.test.kit.js";
import type { VulkanReport } from "./vulkan-program.test.kit.js";

// A software driver takes minutes to compile the products of several rows; KINDRED_SLOW_TESTS=1 asks for them.
const isThorough = Boolean(process.env.KINDRED_SLOW_TESTS);

async function onVulkan(): Promise<VulkanReport> {
  const program = fileURLToPath(new URL("./vulkan-program.test.kit.js", import.meta.url));
  // ggml leaves software drivers out unless a device is chosen by number.
  const env = { GGML_VK_VISIBLE_DEVICES: "0", ...process.env };
  // Mesa's software driver sometimes reads what it has freed (seen with valgrind in 22.3) and takes the process down: twice
  // is bad luck, three times is a machine without a usable driver.
  let crash = "";
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const { stdout, stderr } = await promisify(execFile)(
        process.execPath,
        [program, isThorough ? "thorough" : "quick"],
        {
          env,
          maxBuffer: 1 << 26,
        },
      );
      assert.equal(stderr, "");
      return JSON.parse(stdout) as VulkanReport;
    } catch (error) {
      const { signal } = error as { signal?: string };
      if (!signal) throw error;
      crash = signal;
    }
  }
  return { unavailable: `the driver ended the process with ${crash} three times` };
}

test("on Vulkan every operation gives what exact arithmetic or the CPU gives", async (t) => {
  if (!isInstalled("vulkan")) return t.skip("the package @node-llama-cpp/linux-x64-vulkan is not installed");
  const vulkan = await onVulkan();
  if ("unavailable" in vulkan) return t.skip(vulkan.unavailable);
  t.diagnostic(vulkan.device);

  using cpu = Device.open({ kind: "cpu", threads: 2 });
  const expected = { ...exactProducts(productCases(isThorough)), ...othersOn(cpu) };
  assert.deepEqual(Object.keys(vulkan.results), Object.keys(expected));
  for (const [name, values] of Object.entries(expected)) {
    await t.test(name, () => assertWithin(vulkan.results[name]!, values, 0.004));
  }
});

/** The difference's length is at most this part of the expected vector's. */
function assertWithin(actual: readonly number[], expected: readonly number[], part: number): void {
  assert.equal(actual.length, expected.length);
  const length = (values: readonly number[]) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  const error = length(expected.map((value, at) => value - actual[at]!)) / length(expected);
  assert.ok(error <= part, `differs by ${error} of its length`);
}
