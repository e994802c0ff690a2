import { stat } from "node:fs/promises";
import { InvalidFile } from "../core/index.js";
import type { Checkpoint } from "./checkpoint.js";
import { GgufCheckpoint } from "./gguf-checkpoint.js";
import { HuggingFaceCheckpoint } from "./hugging-face.js";

/**
 * Opens a model on disk: a Hugging Face folder or a GGUF file.
 *
 * @throws {InvalidFile} if there is nothing at `path`, or it is neither, or it is malformed
 * @throws {UnsupportedModel} if it is a model that this version does not compute
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const stats = await stat(path).catch((cause: unknown) => {
    throw new InvalidFile(path, "there is no such file or folder", { cause });
  });
  if (stats.isDirectory()) return HuggingFaceCheckpoint.open(path);
  if (path.endsWith(".gguf")) return GgufCheckpoint.open(path);
  throw new InvalidFile(path, "expected a Hugging Face folder or a .gguf file");
}
