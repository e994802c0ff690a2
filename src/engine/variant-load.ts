import { type DType, dtypes, embeddingName, ownHeadName, parametersOf, type SlotClass } from "../core/index.js";
import type { DeltaBlob, DeltaTensor, PlanesTensor, VariantSource } from "../formats/index.js";
import { fromFloat32, type Tensor, toFloat32 } from "../ggml/index.js";
import type { DecoderState, Part } from "../model/index.js";
import type { Placement } from "../storage/index.js";
import { assert, inLanes } from "../util/index.js";
import type { RegisteredVariant } from "./variants.js";

/**
 * Parameters that are read at once. What has been read is heard of between two steps, so one after the other a load would take as many
 * steps as there are parameters while others are served.
 */
const loadsAtOnce = 32;

/**
 * Reads a variant into the slots it was given, every blob verified on the way. Where the pools are host memory, blobs are read
 * straight into them. What lay in the slots before is overwritten whole: a matrix without a part of a class gets zeros.
 *
 * @returns bytes read
 * @throws {InvalidFile} when a blob is not what was written; the slots' contents are undefined then
 */
export async function loadVariant(
  { source, classes }: Pick<RegisteredVariant, "source" | "classes">,
  placement: Placement,
  { pools, weights }: DecoderState,
): Promise<number> {
  assert(pools, "a variant is loaded into an engine without pools");
  const blobs = new BlobReader(source, pools.isHost);
  const parameters = parametersOf({ ...weights.config, tiedEmbeddings: !pools.layout.ownHeads });
  await inLanes(parameters, loadsAtOnce, async ({ name, kind }) => {
    // A head that is the embedding has its extra rows in both pools, and no other parts of its own.
    const isTiedHead = name === ownHeadName && !source.tensors.has(name);
    const tensor = source.tensors.get(isTiedHead ? embeddingName : name);
    assert(tensor, `variant ${source.path} was opened without ${name}`);
    if (kind === "vector") {
      const values = await vectorOf(tensor, blobs, weights.get(name));
      pools.vector(name).write(values, (1 + placement.index) * pools.vector(name).strides[1]);
      return;
    }
    assert(tensor.kind !== "absolute", `matrix ${name} has absolute values`);
    for (const [classId, slot] of placement.slots) {
      const part = pools.part(name, classId);
      if (!part) continue;
      const { slotClass, matrices } = classes.get(classId)!;
      if (tensor.kind === "planes" && matrices.has(name)) await loadPart(part, slot, slotClass, tensor, blobs);
      else clearPart(part, slot);
    }
    if (!tensor.extraRows) return;
    const pool = pools.extraRows(name);
    assert(pool, `there is no pool for the extra rows of ${name}`);
    await loadExtraRows(pool, placement.index, tensor.extraRows.blob, tensor.dtype, blobs);
  });
  return blobs.bytesRead;
}

/** Reads blobs of one variant and counts their bytes. */
class BlobReader {
  bytesRead = 0;
  readonly #source: VariantSource;
  readonly #isHost: boolean;

  constructor(source: VariantSource, isHost: boolean) {
    this.#source = source;
    this.#isHost = isHost;
  }

  async read(blob: DeltaBlob): Promise<Uint8Array> {
    const bytes = new Uint8Array(blob.byteLength);
    await this.#read(blob, bytes);
    return bytes;
  }

  /** Reads a blob to where it lies in a pool. It has the rows of a slot, or fewer words, which are followed by zeros. */
  async readInto(slot: number, pool: Tensor, blob: DeltaBlob): Promise<void> {
    const slotBytes = slotBytesOf(pool);
    const offset = slot * pool.strides[2];
    if (this.#isHost) await this.#read(blob, pool.hostBytes(offset, blob.byteLength));
    else pool.write(await this.read(blob), offset);
    const missing = slotBytes - blob.byteLength;
    if (missing > 0) pool.write(new Uint8Array(missing), offset + blob.byteLength);
  }

  async #read(blob: DeltaBlob, into: Uint8Array): Promise<void> {
    this.bytesRead += blob.byteLength;
    await this.#source.readBlob(blob, into);
  }
}

/** A norm or bias: the variant's own values, or those of the base. */
async function vectorOf(tensor: DeltaTensor, blobs: BlobReader, base: Tensor): Promise<Float32Array> {
  if (tensor.kind === "absolute") return toFloat32(tensor.dtype, await blobs.read(tensor.value), base.elements);
  const values = new Float32Array(base.elements);
  base.read(values);
  return values;
}

async function loadPart(
  part: Part,
  slot: number,
  slotClass: SlotClass,
  tensor: PlanesTensor,
  blobs: BlobReader,
): Promise<void> {
  if (part.kind === "plane") {
    assert(slotClass.kind === "plane", "a pool of planes is of another class");
    return blobs.readInto(slot, part.plane, tensor.planes[slotClass.plane - 1]!);
  }
  assert(slotClass.kind === "factors", "a pool of factors is of another class");
  const { rank, dtype } = slotClass;
  const factors = tensor.factors.find((own) => own.rank === rank && own.dtype === dtype);
  assert(factors, `${tensor.name} has no factors of rank ${rank} in ${dtype}`);
  await blobs.readInto(slot, part.up, factors.up);
  if (part.down && !part.turned) return blobs.readInto(slot, part.down, factors.down);
  const down = await blobs.read(factors.down);
  part.down?.write(down, slot * part.down.strides[2]);
  if (part.turned) writeTurned(part.turned, slot, rank, toFloat32(dtype, down, elementsOf(dtype, down)));
}

/** Writes `down` `[rank, cols in whole blocks]` transposed, `[cols, rank in whole blocks]`. */
function writeTurned(pool: Tensor, slot: number, rank: number, down: Float32Array): void {
  const [paddedRank, cols] = pool.extents;
  const paddedCols = down.length / rank;
  const turned = new Float32Array(cols * paddedRank);
  for (let col = 0; col < cols; col++) {
    for (let k = 0; k < rank; k++) turned[col * paddedRank + k] = down[k * paddedCols + col]!;
  }
  const bytes = fromFloat32(pool.dtype, turned, paddedRank);
  pool.write(bytes, slot * pool.strides[2]);
}

function clearPart(part: Part, slot: number): void {
  for (const pool of part.kind === "plane" ? [part.plane] : [part.down, part.up, part.turned]) {
    if (!pool) continue;
    pool.write(new Uint8Array(slotBytesOf(pool)), slot * pool.strides[2]);
  }
}

/** Bytes of one slot's matrix; the next one may follow with a gap. */
function slotBytesOf({ strides, extents }: Tensor): number {
  return strides[1] * extents[1];
}

async function loadExtraRows(
  pool: Tensor,
  index: number,
  blob: DeltaBlob,
  dtype: DType,
  blobs: BlobReader,
): Promise<void> {
  const stored = await blobs.read(blob);
  const values = toFloat32(dtype, stored, elementsOf(dtype, stored));
  pool.write(values, index * pool.strides[2]);
}

function elementsOf(dtype: DType, { byteLength }: Uint8Array): number {
  const { blockSize, blockBytes } = dtypes[dtype];
  return (byteLength / blockBytes) * blockSize;
}
