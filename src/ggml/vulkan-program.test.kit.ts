// A program: what operations give on Vulkan, as JSON on stdout. A process computes through one library only, so the test that
// knows what to expect starts this one. Argument: "thorough" for products of many rows with every dtype.

import { NativeError } from "../core/index.js";
import { Device } from "./device.js";
import { othersOn, productCases, productsOn, type Results } from "./operations.test.kit.js";

/** What the program prints: results by name, or why this machine has no such device. */
export type VulkanReport = { readonly device: string; readonly results: Results } | { readonly unavailable: string };

function report(isThorough: boolean): VulkanReport {
  let device: Device;
  try {
    device = Device.open({ kind: "vulkan" });
  } catch (error) {
    if (error instanceof NativeError) return { unavailable: error.message };
    throw error;
  }
  const results = { ...productsOn(device, productCases(isThorough)), ...othersOn(device) };
  return { device: device.description, results };
}

process.stdout.write(JSON.stringify(report(process.argv[2] === "thorough")));
