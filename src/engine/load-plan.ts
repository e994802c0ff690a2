import { type DType, embeddingName, ownHeadName, parametersOf, type SlotClass } from "../core/index.js";
import { slotPlanesOf, type TensorContents } from "../formats/index.js";
import { contiguousStrides, type Tensor } from "../ggml/index.js";
import type { DecoderState, Part } from "../model/index.js";
import type { Placement } from "../storage/index.js";
import { assert } from "../util/index.js";
import type { BlobForm, PieceContent } from "./piece-content.js";
import type { RegisteredVariant } from "./variants.js";

/** One write of a load: what comes to lie where in a pool. */
export interface LoadPiece {
  /** A blob by its name. */
  readonly content: PieceContent<string>;
  readonly pool: Tensor;
  readonly offset: number;
  /** What the content leaves of them is filled with zeros. */
  readonly byteLength: number;
}

type Planes = Extract<TensorContents, { kind: "planes" }> & { readonly name: string };

const nothing: PieceContent<string> = { kind: "bytes", bytes: new Uint8Array(0) };

/**
 * Everything that is written when a variant goes into the slots it was given. What lay in them before is overwritten whole: a matrix
 * without a part of a class gets zeros.
 */
export function planLoad(
  { name: variant, contents, classes }: Pick<RegisteredVariant, "name" | "contents" | "classes">,
  placement: Placement,
  { pools, weights }: DecoderState,
): readonly LoadPiece[] {
  assert(pools, "a variant is loaded into an engine without pools");
  return parametersOf({ ...weights.config, tiedEmbeddings: !pools.layout.ownHeads }).flatMap(({ name, kind }) => {
    // A head that is the embedding has its extra rows in both pools, and no other parts of its own.
    const isTiedHead = name === ownHeadName && !contents.tensors.has(name);
    const tensor = contents.tensors.get(isTiedHead ? embeddingName : name);
    assert(tensor, `variant ${variant} was registered without ${name}`);
    if (kind === "vector")
      return [pieceOf(pools.vector(name), 1 + placement.index, vectorContent(tensor, weights.get(name)), 1)];
    assert(tensor.kind !== "absolute", `matrix ${name} has absolute values`);
    const pieces = [...placement.slots].flatMap(([classId, slot]) => {
      const part = pools.part(name, classId);
      if (!part) return [];
      const { slotClass, matrices } = classes.get(classId)!;
      const isThere = tensor.kind === "planes" && matrices.has(name);
      return isThere
        ? partPieces(part, slot, slotClass, { ...tensor, name })
        : poolsOf(part).map((pool) => pieceOf(pool, slot, nothing));
    });
    if (!tensor.extraRows) return pieces;
    const pool = pools.extraRows(name);
    assert(pool, `there is no pool for the extra rows of ${name}`);
    const form = { kind: "numbers", dtype: tensor.dtype } as const;
    return [...pieces, pieceOf(pool, placement.index, { kind: "blob", blob: tensor.extraRows, form })];
  });
}

/** @param dimension along which the pool's places lie */
function pieceOf(pool: Tensor, place: number, content: LoadPiece["content"], dimension: 1 | 2 = 2): LoadPiece {
  // Places may have gaps between them.
  const byteLength = contiguousStrides(pool.dtype, pool.extents)[dimension];
  return { content, pool, offset: place * pool.strides[dimension], byteLength };
}

/** A norm or bias: the variant's own values, or those of the base. */
function vectorContent(tensor: TensorContents, base: Tensor): LoadPiece["content"] {
  if (tensor.kind === "absolute")
    return { kind: "blob", blob: tensor.value, form: { kind: "numbers", dtype: tensor.dtype } };
  const bytes = new Uint8Array(base.byteLength);
  base.read(bytes);
  return { kind: "bytes", bytes };
}

function partPieces(part: Part, slot: number, slotClass: SlotClass, tensor: Planes): LoadPiece[] {
  const piece = (pool: Tensor, blob: string, form: BlobForm = { kind: "itself" }) =>
    pieceOf(pool, slot, { kind: "blob", blob, form });
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
function planeContent({ planeDType, planes }: Planes, index: number, pool: Tensor): { blob: string; form: BlobForm } {
  assert(planeDType, "a matrix without planes has slots of them");
  const { count } = slotPlanesOf(planeDType);
  const blob = planes[Math.floor(index / count)]!;
  if (count === 1) return { blob, form: { kind: "itself" } };
  return { blob, form: { kind: "signs", half: index % count === 0 ? "first" : "second", cols: pool.extents[0] } };
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
