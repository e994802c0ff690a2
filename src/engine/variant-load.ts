import { readStored } from "../formats/index.js";
import type { DecoderState } from "../model/index.js";
import type { Placement } from "../storage/index.js";
import { inLanes } from "../util/index.js";
import { type LoadPiece, offsetOf, planLoad } from "./load-plan.js";
import { blobsOf, putBytes, putFormed } from "./piece-content.js";
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
  const pieces = planLoad(variant, state);
  const writeTo = (piece: LoadPiece, put: (into: Uint8Array) => void) => {
    const own = new Uint8Array(piece.byteLength);
    put(own);
    piece.pool.write(own, offsetOf(piece, placement));
  };
  for (const piece of pieces) {
    const { content } = piece;
    if (content.kind === "bytes") writeTo(piece, (into) => putBytes(into, content.bytes));
  }
  let bytesRead = 0;
  await inLanes(blobsOf(pieces), blobsAtOnce, async ({ blob: name, uses }) => {
    const blob = contents.locate(name);
    const bytes = new Uint8Array(blob.byteLength);
    await readStored(source, blob, bytes);
    bytesRead += blob.byteLength;
    for (const { piece, form } of uses)
      writeTo(pieces[piece]!, (into) => putFormed(into, bytes, form, state.pools?.arrange));
  });
  return bytesRead;
}
