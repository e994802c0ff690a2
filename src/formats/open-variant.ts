import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Checkpoint } from "./checkpoint.js";
import { checkBase, deltaManifestFile, openDelta } from "./delta-artifact.js";
import { adapterConfigFile, PeftAdapter } from "./peft-adapter.js";
import type { VariantSource } from "./variant-source.js";

/** Whether a folder is a delta artifact or a PEFT adapter, by the file that describes it. */
export function isVariantFolder(path: string): boolean {
  return [deltaManifestFile, adapterConfigFile].some((file) => existsSync(join(path, file)));
}

/**
 * Opens a variant of `base`: a delta artifact, or a PEFT adapter.
 *
 * @param options.isChecked it is known that an artifact fits the base; if not, all of the base is read once to find that out
 * @throws {BaseMismatch} if it was made against another base
 * @throws {InvalidFile} if a file is missing, damaged, or does not fit the others or the base
 * @throws {UnsupportedAdapter} if it is an adapter of a kind that is not served
 */
export async function openVariant(
  path: string,
  base: Checkpoint,
  options: { isChecked?: boolean } = {},
): Promise<VariantSource> {
  const isDelta = existsSync(join(path, deltaManifestFile));
  if (!isDelta && existsSync(join(path, adapterConfigFile))) return PeftAdapter.open(path, base);
  const artifact = await openDelta(path);
  if (options.isChecked) return artifact;
  try {
    await checkBase(artifact, base);
    return artifact;
  } catch (error) {
    await artifact[Symbol.asyncDispose]();
    throw error;
  }
}
