import { type DType, embeddingName, ownHeadName, parametersOf, type SlotClass } from "../core/index.js";
import { slotPlanesOf, type TensorContents } from "../formats/index.js";
import { contiguousStrides, fitsStrips, type Tensor } from "../ggml/index.js";
import type { DecoderState, Part } from "../model/index.js";
import type { Placement } from "../storage/index.js";
import { assert } from "../util/index.js";
import type { BlobForm, PieceContent } from "./piece-content.js";
import type { RegisteredVariant } from "./variants.js";

/** A place that every variant, or every slot of a class, has in a pool. */
export interface PiecePlace {
  /** Of the slots; null where it is a variant's row. */
  readonly classId: string | null;
  /** Of the first one in the pool, in bytes. */
  readonly firstOffset: number;
  /** From one to the next, which may have gaps between them. */
  readonly strideBytes: number;
  /** Of one. */
  readonly byteLength: number;
}

/** One write of a load: what comes to lie where in a pool. What the content leaves of the place is filled with zeros. */
export interface LoadPiece extends PiecePlace {
  /** A blob by its name. */
  readonly content: PieceContent<string>;
  readonly pool: Tensor;
}

type Planes = Extract<TensorContents, { kind: "planes" }> & { readonly name: string; readonly inputs: number };

const nothing: PieceContent<string> = { kind: "bytes", bytes: new Uint8Array(0) };

/**
 * Everything that is written when a variant goes into slots, and the same for all variants of its form, whichever slots these are. What lay in
 * them before is overwritten whole: a matrix without a part of a class gets zeros.
 */
export function planLoad(
  { name: variant, contents, classes }: Pick<RegisteredVariant, "name" | "contents" | "classes">,
  { pools, weights }: DecoderState,
): readonly LoadPiece[] {
  assert(pools, "a variant is loaded into an engine without pools");
  return parametersOf({ ...weights.config, tiedEmbeddings: !pools.layout.ownHeads }).flatMap(
    ({ name, kind, shape }) => {
      // A head that is the embedding has its extra rows in both pools, and no other parts of its own.
      const isTiedHead = name === ownHeadName && !contents.tensors.has(name);
      const tensor = contents.tensors.get(isTiedHead ? embeddingName : name);
      assert(tensor, `variant ${variant} was registered without ${name}`);
      if (kind === "vector") {
        const pool = pools.vector(name);
        const piece = pieceOf(pool, null, vectorContent(tensor, weights.get(name)), 1);
        return [{ ...piece, firstOffset: piece.strideBytes }]; // behind the base's own
      }
      assert(tensor.kind !== "absolute", `matrix ${name} has absolute values`);
      const pieces = [...classes].flatMap(([classId, { slotClass, matrices }]) => {
        const part = pools.part(name, classId);
        if (!part) return [];
        const isThere = tensor.kind === "planes" && matrices.has(name);
        return isThere
          ? partPieces(part, classId, slotClass, { ...tensor, name, inputs: shape[1]! })
          : poolsOf(part).map((pool) => pieceOf(pool, classId, nothing));
      });
      if (!tensor.extraRows) return pieces;
      const pool = pools.extraRows(name);
      assert(pool, `there is no pool for the extra rows of ${name}`);
      const form = { kind: "numbers", dtype: tensor.dtype } as const;
      return [...pieces, pieceOf(pool, null, { kind: "blob", blob: tensor.extraRows, form })];
    },
  );
}

/** Where in its pool a piece goes, in bytes, when the variant has these slots. */
export function offsetOf({ classId, firstOffset, strideBytes }: PiecePlace, { index, slots }: Placement): number {
  const place = classId === null ? index : slots.get(classId);
  assert(place !== undefined, `the variant has no slot of class ${classId}`);
  return firstOffset + place * strideBytes;
}

/** @param dimension along which the pool's places lie */
function pieceOf(pool: Tensor, classId: string | null, content: LoadPiece["content"], dimension: 1 | 2 = 2): LoadPiece {
  const byteLength = contiguousStrides(pool.dtype, pool.extents)[dimension];
  return { content, pool, classId, firstOffset: 0, strideBytes: pool.strides[dimension], byteLength };
}

/** A norm or bias: the variant's own values, or those of the base. */
function vectorContent(tensor: TensorContents, base: Tensor): LoadPiece["content"] {
  if (tensor.kind === "absolute")
    return { kind: "blob", blob: tensor.value, form: { kind: "numbers", dtype: tensor.dtype } };
  const bytes = new Uint8Array(base.byteLength);
  base.read(bytes);
  return { kind: "bytes", bytes };
}

function partPieces(part: Part, classId: string, slotClass: SlotClass, tensor: Planes): LoadPiece[] {
  const piece = (pool: Tensor, blob: string, form: BlobForm = { kind: "itself" }) =>
    pieceOf(pool, classId, { kind: "blob", blob, form });
  if (part.kind === "plane") {
    assert(slotClass.kind === "plane", "a pool of planes is of another class");
    const { blob, form } = planeContent(tensor, slotClass.plane - 1, part.plane);
    return [piece(part.plane, blob, form)];
  }
  assert(slotClass.kind === "factors", "a pool of factors is of another class");
  const { rank, dtype } = slotClass;
  const factors = tensor.factors.find((own) => own.rank === rank && own.dtype === dtype);
  assert(factors, `${tensor.name} has no factors of rank ${rank} in ${dtype}`);
  const pieces = [piece(part.up, factors.up)];
  if (part.down) pieces.push(piece(part.down, factors.down));
  if (part.turned) pieces.push(piece(part.turned, factors.down, turnedForm(part.turned, dtype, rank)));
  return pieces;
}

/** The blob that a pool has as plane number `index`, which counts from 0, and the form in which it has it. */
function planeContent(
  { planeDType, planes, inputs }: Planes,
  index: number,
  pool: Tensor,
): { blob: string; form: BlobForm } {
  assert(planeDType, "a matrix without planes has slots of them");
  const { count } = slotPlanesOf(planeDType);
  const [cols, outputs] = pool.extents;
  const half = index % count === 0 ? ("first" as const) : ("second" as const);
  const ternary = count === 1 ? undefined : { half, cols };
  const strips = fitsStrips(pool.dtype, outputs) ? { inputs, outputs } : undefined;
  return { blob: planes[Math.floor(index / count)]!, form: { kind: "plane", ternary, strips } };
}

/** The form of `down` in a pool that has it transposed. */
function turnedForm({ dtype, extents }: Tensor, from: DType, rank: number): BlobForm {
  const [paddedRank, cols] = extents;
  return { kind: "turned", from, rank, to: dtype, paddedRank, cols };
}

function poolsOf(part: Part): readonly Tensor[] {
  const all = part.kind === "plane" ? [part.plane] : [part.down, part.up, part.turned];
  return all.filter((pool) => pool !== undefined);
}
