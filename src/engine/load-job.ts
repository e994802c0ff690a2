import { type DecodePlane, FileSource, type StoredBlob, unpackBlob } from "../formats/index.js";
import type { ArrangePlanes } from "../ggml/index.js";
import { ByteBudget, inLanes } from "../util/index.js";
import { blobRanges, rangeBytesMax } from "./blob-ranges.js";
import type { LoadJob, PostedForm } from "./loader-messages.js";
import { type BlobUses, blobsOf, isAsStored, putBytes, putFormed } from "./piece-content.js";
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
  readonly arrange: ArrangePlanes | undefined;
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
  for (const [piece, { content }] of pieces.entries()) {
    if (content.kind === "bytes") await write(piece, (into) => putBytes(into, content.bytes));
  }
  const located = blobsOf(pieces).map(({ uses }, index) => ({ blob: blobs[index]!, uses }));
  let bytesRead = 0;
  await inLanes(blobRanges(located), readsAtOnce, async ({ offset, byteLength, items }) => {
    using _ = await budget.take(byteLength);
    using buffer = buffers.take(byteLength);
    const { bytes } = buffer;
    await source.read(offset, bytes);
    for (const { blob, uses } of items) {
      const stored = bytes.subarray(blob.offset - offset, blob.offset - offset + blob.storedBytes);
      await writeBlob({ path: file.path, blob, stored }, uses, means);
      bytesRead += blob.byteLength;
    }
  });
  return bytesRead;
}

/** A coded blob that goes as it is, to one place, comes to lie there by being decoded, with no copy between. */
async function writeBlob(
  { path, blob, stored }: { readonly path: string; readonly blob: StoredBlob; readonly stored: Uint8Array },
  uses: BlobUses["uses"],
  { write, decodePlane, arrange, buffers }: LoadMeans,
): Promise<void> {
  const [{ piece, form }] = uses as [BlobUses["uses"][number]];
  if (uses.length === 1 && isAsStored(form, arrange)) {
    await write(piece, (into) => {
      unpackBlob(path, blob, stored, into.subarray(0, blob.byteLength), decodePlane);
      into.fill(0, blob.byteLength);
    });
    return;
  }
  using decoded = blob.form.kind === "plain" ? undefined : buffers.take(blob.byteLength);
  const bytes = decoded?.bytes ?? stored;
  unpackBlob(path, blob, stored, bytes, decodePlane);
  for (const use of uses) await write(use.piece, (into) => putFormed(into, bytes, use.form, arrange));
}
