import type { Checkpoint } from "./checkpoint.js";
import { checkBase, openDelta } from "./delta-artifact.js";
import type { VariantSource } from "./variant-source.js";

/**
 * Opens a variant of `base`: a delta artifact.
 *
 * @throws {BaseMismatch} if it was made against another base
 * @throws {InvalidFile} if a file is missing, damaged, or does not fit the others or the base
 */
export async function openVariant(path: string, base: Checkpoint): Promise<VariantSource> {
  const artifact = await openDelta(path);
  try {
    await checkBase(artifact, base);
    return artifact;
  } catch (error) {
    await artifact[Symbol.asyncDispose]();
    throw error;
  }
}
