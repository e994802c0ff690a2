import { type DecodePlane, FileSource, type StoredBlob, unpackBlob } from "../formats/index.js";
import type { ArrangeSigns } from "../ggml/index.js";
import { ByteBudget, inLanes } from "../util/index.js";
import { blobRanges, rangeBytesMax } from "./blob-ranges.js";
import type { LoadJob, PostedForm } from "./loader-messages.js";
import { type BlobForm, isAsStored, putBytes, putFormed } from "./piece-content.js";
import { ReadBuffers } from "./read-buffers.js";

/** Reads that are under way at once, beside what is verified and decoded. */
const readsAtOnce = 4;
/** Bytes that were read and are not written yet; a blob that is larger comes alone. */
const bufferBytesMax = 8 << 20;

/** Lets a piece be filled where it goes, or on the way there. */
export type WritePiece = (piece: number, fill: (into: Uint8Array) => void) => Promise<void>;

/** What loads are done with. */
export interface LoadMeans {
  readonly write: WritePiece;
  readonly decodePlane: DecodePlane;
  /** Where kernels look for sign planes in strips. */
  readonly arrange: ArrangeSigns | undefined;
  /** For stretches of the file. */
  readonly buffers: ReadBuffers;
}

/** What loads that are done one after the other read into. */
export function loadBuffers(): ReadBuffers {
  return new ReadBuffers({ leastBytes: rangeBytesMax, keptBytesMax: bufferBytesMax });
}

/**
 * Does a load: reads stretches of the file, some ahead of those whose blobs are verified, turned into what pools hold, and written.
 *
 * @returns bytes of the blobs
 * @throws {FileChanged} if it was written since the variant was registered
 * @throws {InvalidFile} what was wrong first; all reads have ended then
 */
export async function runLoad(
  { file, pieces, blobs }: Pick<LoadJob, "file" | "blobs"> & Pick<PostedForm, "pieces">,
  means: LoadMeans,
): Promise<number> {
  const { write, buffers } = means;
  await using source = await FileSource.reopen(file);
  const budget = new ByteBudget(bufferBytesMax);
  const ofBlobs: { blob: StoredBlob; form: BlobForm; piece: number }[] = [];
  for (const [piece, { content }] of pieces.entries()) {
    if (content.kind === "blob") ofBlobs.push({ blob: blobs[ofBlobs.length]!, form: content.form, piece });
    else await write(piece, (into) => putBytes(into, content.bytes));
  }
  let bytesRead = 0;
  await inLanes(blobRanges(ofBlobs), readsAtOnce, async ({ offset, byteLength, items }) => {
    using _ = await budget.take(byteLength);
    using buffer = buffers.take(byteLength);
    const { bytes } = buffer;
    await source.read(offset, bytes);
    for (const { blob, form, piece } of items) {
      const stored = bytes.subarray(blob.offset - offset, blob.offset - offset + blob.storedBytes);
      await write(piece, (into) => fillWithBlob(into, { path: file.path, blob, form, stored, ...means }));
      bytesRead += blob.byteLength;
    }
  });
  return bytesRead;
}

/** A coded blob that goes as it is comes to lie there by being decoded, with no copy between. */
function fillWithBlob(
  into: Uint8Array,
  source: { path: string; blob: StoredBlob; form: BlobForm; stored: Uint8Array } & LoadMeans,
): void {
  const { path, blob, form, stored, decodePlane, arrange } = source;
  if (isAsStored(form, arrange)) {
    unpackBlob(path, blob, stored, into.subarray(0, blob.byteLength), decodePlane);
    into.fill(0, blob.byteLength);
    return;
  }
  const bytes = blob.form.kind === "plain" ? stored : new Uint8Array(blob.byteLength);
  unpackBlob(path, blob, stored, bytes, decodePlane);
  putFormed(into, bytes, form, arrange);
}
