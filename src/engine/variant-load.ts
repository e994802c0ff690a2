import { readStored } from "../formats/index.js";
import type { DecoderState } from "../model/index.js";
import type { Placement } from "../storage/index.js";
import { inLanes } from "../util/index.js";
import { offsetOf, planLoad } from "./load-plan.js";
import { formed } from "./piece-content.js";
import type { RegisteredVariant } from "./variants.js";

const blobsAtOnce = 8;

/**
 * Reads a variant into the slots it was given, in this thread: for those who have nothing else to do. An engine that computes meanwhile
 * has a {@link Loader}.
 *
 * @returns bytes of its blobs
 * @throws {FileChanged} if its file was written since it was registered
 * @throws {InvalidFile} when a blob is not what was written; the slots' contents are undefined then
 */
export async function loadVariant(
  variant: Pick<RegisteredVariant, "name" | "contents" | "classes">,
  placement: Placement,
  state: DecoderState,
): Promise<number> {
  const { contents } = variant;
  await using source = await contents.reopen();
  let bytesRead = 0;
  await inLanes(planLoad(variant, state), blobsAtOnce, async (piece) => {
    const { content, pool, byteLength } = piece;
    const offset = offsetOf(piece, placement);
    let bytes: Uint8Array;
    if (content.kind === "bytes") bytes = content.bytes;
    else {
      const { form } = content;
      const blob = contents.locate(content.blob);
      bytes = new Uint8Array(blob.byteLength);
      await readStored(source, blob, bytes);
      bytesRead += blob.byteLength;
      bytes = formed(bytes, form);
    }
    pool.write(bytes, offset);
    if (bytes.byteLength < byteLength)
      pool.write(new Uint8Array(byteLength - bytes.byteLength), offset + bytes.byteLength);
  });
  return bytesRead;
}
