import type { DeltaArtifact, DeltaBlob } from "../formats/index.js";

/** A blob's bytes, in memory of their own. @throws {InvalidFile} as {@link DeltaArtifact.readBlob} does */
export async function readBlob(delta: DeltaArtifact, blob: DeltaBlob): Promise<Uint8Array> {
  const bytes = new Uint8Array(blob.byteLength);
  await delta.readBlob(blob, bytes);
  return bytes;
}
