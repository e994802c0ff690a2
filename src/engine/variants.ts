import { type DType, dtypes, errorToData, KindredError, type ModelConfig, parametersOf } from "../core/index.js";
import {
  type Checkpoint,
  checkBase,
  type DeltaArtifact,
  type DeltaBlob,
  openDelta,
  planeBytes,
} from "../formats/index.js";
import { type Tensor, toFloat32 } from "../ggml/index.js";
import type { DecoderState, DeltaPools } from "../model/index.js";
import type { Placement, SlotNeeds } from "../storage/index.js";
import { assert } from "../util/index.js";
import type { EngineInfo, EngineOptions } from "./messages.js";

/** A variant that this engine can serve: its artifact, open and checked, and what it takes to be resident. */
export interface RegisteredVariant {
  readonly name: string;
  readonly artifact: DeltaArtifact;
  /** Slots of each dtype it needs: its most planes over all matrices. */
  readonly needs: SlotNeeds;
  /** Its coded matrices with the dtype of their planes. */
  readonly matrices: ReadonlyMap<string, { readonly dtype: DType }>;
  /** Vocabulary rows beyond the base's. */
  readonly extraRows: number;
}

/** A variant whose blueprint differs from the base's in more than vocabulary: they cannot share a forward pass. */
export class BlueprintMismatch extends KindredError {
  constructor(variant: string, field: string, own: unknown, base: unknown) {
    super(
      "blueprint_mismatch",
      409,
      `Cannot serve variant ${variant}: its config.json has ${field} ${JSON.stringify(own)}, the base's ${JSON.stringify(base)}`,
      { details: { variant, field } },
    );
  }
}

/** An artifact that restores a fine-tune bit for bit and holds nothing to compute with. */
export class OnlyExact extends KindredError {
  constructor(variant: string) {
    super(
      "only_exact",
      422,
      `Cannot serve variant ${variant}: its artifact only restores the fine-tune; compress it with planes, such as --codec sign --exact, to have both`,
      { details: { variant } },
    );
  }
}

/** Opens every artifact against the base. One that does not fit is refused and the others go on. */
export async function openVariants(
  sources: EngineOptions["variants"],
  base: Checkpoint,
): Promise<{ variants: Map<string, RegisteredVariant>; refused: EngineInfo["refused"] }> {
  const variants = new Map<string, RegisteredVariant>();
  const refused: { name: string; error: ReturnType<typeof errorToData> }[] = [];
  for (const { name, path } of sources) {
    try {
      variants.set(name, await openVariant(name, path, base));
    } catch (error) {
      refused.push({ name, error: errorToData(error) });
    }
  }
  return { variants, refused };
}

/**
 * Opens one artifact against the base.
 *
 * @throws {KindredError} if it is damaged, was made against another base, or has another blueprint
 */
export async function openVariant(name: string, path: string, base: Checkpoint): Promise<RegisteredVariant> {
  const artifact = await openDelta(path);
  try {
    await checkBase(artifact, base);
    checkBlueprint(name, artifact.config, base.config);
    if ([...artifact.tensors.values()].some(({ kind }) => kind === "exact")) throw new OnlyExact(name);
  } catch (error) {
    await artifact[Symbol.asyncDispose]();
    throw error;
  }
  const needs = new Map<DType, number>();
  const matrices = new Map<string, { dtype: DType }>();
  for (const tensor of artifact.tensors.values()) {
    if (tensor.kind !== "planes") continue;
    matrices.set(tensor.name, { dtype: tensor.planeDType });
    needs.set(tensor.planeDType, Math.max(needs.get(tensor.planeDType) ?? 0, tensor.planes.length));
  }
  return { name, artifact, needs, matrices, extraRows: artifact.config.vocabSize - base.config.vocabSize };
}

function checkBlueprint(name: string, own: ModelConfig, base: ModelConfig): void {
  for (const field of Object.keys(base) as (keyof ModelConfig)[]) {
    // A longer context is a promise about positions, not a different pass; more vocabulary has pools of its own.
    if (field === "contextLength" || field === "vocabSize") continue;
    if (JSON.stringify(own[field]) !== JSON.stringify(base[field]))
      throw new BlueprintMismatch(name, field, own[field], base[field]);
  }
  if (own.vocabSize < base.vocabSize) throw new BlueprintMismatch(name, "vocab_size", own.vocabSize, base.vocabSize);
}

/**
 * Reads a variant into the slots it was given, every blob verified on the way. Where the pools are host memory, planes are read
 * straight into them. What lay in the slots before is overwritten whole: a matrix without a plane gets zeros.
 *
 * @returns bytes read
 * @throws {InvalidFile} when a blob is not what was written; the slots' contents are undefined then
 */
export async function loadVariant(
  variant: RegisteredVariant,
  placement: Placement,
  state: DecoderState,
): Promise<number> {
  const { artifact } = variant;
  const { pools, weights } = state;
  assert(pools, "a variant is loaded into an engine without pools");
  let bytes = 0;
  const read = async (blob: DeltaBlob, pool: Tensor, offset: number) => {
    bytes += blob.byteLength;
    if (pools.isHost) return artifact.readBlob(blob, pool.hostBytes(offset, blob.byteLength));
    const staged = new Uint8Array(blob.byteLength);
    await artifact.readBlob(blob, staged);
    pool.write(staged, offset);
  };
  for (const parameter of parametersOf(weights.config)) {
    const tensor = artifact.tensors.get(parameter.name);
    assert(tensor, `artifact ${artifact.path} was opened without ${parameter.name}`);
    if (parameter.kind === "vector") {
      const values = new Float32Array(parameter.shape[0]!);
      if (tensor.kind === "absolute") {
        const stored = new Uint8Array(tensor.value.byteLength);
        await artifact.readBlob(tensor.value, stored);
        bytes += stored.byteLength;
        values.set(toFloat32(tensor.dtype, stored, values.length));
      } else weights.get(parameter.name).read(values);
      pools.vector(parameter.name).write(values, (1 + placement.index) * values.byteLength);
      continue;
    }
    assert(tensor.kind !== "absolute", `matrix ${parameter.name} has absolute values`);
    for (const [dtype, slots] of placement.slots) {
      const pool = pools.matrix(parameter.name, dtype);
      if (!pool) continue;
      const slotBytes = planeBytes(dtype, { rows: parameter.shape[0]!, cols: parameter.shape[1]! });
      for (const [plane, slot] of slots.entries()) {
        const blob = tensor.kind === "planes" && tensor.planeDType === dtype ? tensor.planes[plane] : undefined;
        if (blob) await read(blob, pool, slot * slotBytes);
        else pool.write(new Uint8Array(slotBytes), slot * slotBytes);
      }
    }
    if (tensor.extraRows) {
      bytes += tensor.extraRows.blob.byteLength;
      await loadExtraRows(artifact, tensor.extraRows.blob, tensor.dtype, pools, {
        name: parameter.name,
        index: placement.index,
      });
    }
  }
  return bytes;
}

async function loadExtraRows(
  artifact: DeltaArtifact,
  blob: DeltaBlob,
  dtype: DType,
  pools: DeltaPools,
  place: { name: string; index: number },
): Promise<void> {
  const pool = pools.extraRows(place.name);
  assert(pool, `there is no pool for the extra rows of ${place.name}`);
  const stored = new Uint8Array(blob.byteLength);
  await artifact.readBlob(blob, stored);
  const [hidden, rows] = pool.extents;
  const values = toFloat32(dtype, stored, blob.byteLength / dtypes[dtype].blockBytes);
  pool.write(values, place.index * hidden * rows * values.BYTES_PER_ELEMENT);
}
