import { sha256 } from "../util/index.js";
import type { Checkpoint } from "./checkpoint.js";

/** Computes {@link Checkpoint.fingerprint}. Memory holds the largest tensor. */
export async function computeFingerprint(checkpoint: Pick<Checkpoint, "tensors" | "read">): Promise<string> {
  const tensors = [...checkpoint.tensors.values()];
  const buffer = new Uint8Array(tensors.reduce((largest, { byteLength }) => Math.max(largest, byteLength), 0));
  const lines: string[] = [];
  for (const { name, dtype, shape, byteLength } of tensors) {
    const bytes = buffer.subarray(0, byteLength);
    await checkpoint.read(name, bytes);
    lines.push(`${name} ${dtype} [${shape.join(",")}] ${sha256(bytes)}\n`);
  }
  return sha256(lines.sort().join(""));
}
