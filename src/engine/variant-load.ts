import { readStored } from "../formats/index.js";
import type { DecoderState } from "../model/index.js";
import type { Placement } from "../storage/index.js";
import { inLanes } from "../util/index.js";
import { offsetOf, planLoad } from "./load-plan.js";
import { putBytes, putFormed } from "./piece-content.js";
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
    const own = new Uint8Array(byteLength);
    if (content.kind === "bytes") putBytes(own, content.bytes);
    else {
      const blob = contents.locate(content.blob);
      const bytes = new Uint8Array(blob.byteLength);
      await readStored(source, blob, bytes);
      bytesRead += blob.byteLength;
      putFormed(own, bytes, content.form, state.pools?.arrange);
    }
    pool.write(own, offset);
  });
  return bytesRead;
}
