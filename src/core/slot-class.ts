import { alignUp } from "../util/index.js";
import { type DType, dtypes, rowBytes } from "./dtype.js";
import type { Parameter } from "./model-config.js";

/**
 * What a slot holds of one variant, in each matrix where it has such a part: a plane, or a pair of factors whose product is
 * added, `up · down`. Parts of one class are of one form, so that a batch takes them from one pool with one set of slot numbers.
 */
export type SlotClass = {
  readonly dtype: DType;
  /**
   * Parts of the embedding and of the output head, of variants that untied them over a base that has them tied. In a class of their
   * own, for the base's head takes the embedding's parts in every other class.
   */
  readonly untied?: true;
} & (
  | {
      readonly kind: "plane";
      /** From 1, the coarsest. */
      readonly plane: number;
    }
  | { readonly kind: "factors"; readonly rank: number }
);

/**
 * One text for each class, to be a key: `q1_0.2` for second sign planes, `q8_0x32` for factors of rank 32, `q1_0.1 untied` for first
 * sign planes of embeddings and heads that were untied.
 */
export function slotClassId(slotClass: SlotClass): string {
  const { dtype } = slotClass;
  const form = slotClass.kind === "plane" ? `${dtype}.${slotClass.plane}` : `${dtype}x${slotClass.rank}`;
  return slotClass.untied ? `${form} untied` : form;
}

/**
 * A matrix in a slot, its rows filled up to whole blocks. Factors have `down` `[rank, in]` and `up` `[out, rank]`; those of an
 * embedding have `turned` as well, `down` transposed, since a row of the embedding is a row of `up` times it.
 */
export interface SlotMatrix {
  readonly role: "plane" | "down" | "up" | "turned";
  readonly dtype: DType;
  readonly rows: number;
  readonly cols: number;
}

/** What a slot of this class holds of a parameter: `[out, in]`, or `[vocabulary, hidden]` without extra rows. */
export function slotMatrices(
  slotClass: SlotClass,
  { shape, kind }: Pick<Parameter, "shape" | "kind">,
  { tiedEmbeddings }: { readonly tiedEmbeddings: boolean },
): readonly SlotMatrix[] {
  const { dtype } = slotClass;
  const [rows, cols] = shape as readonly [number, number];
  const matrix = (role: SlotMatrix["role"], ownRows: number, ownCols: number, own: DType = dtype): SlotMatrix => ({
    role,
    dtype: own,
    rows: ownRows,
    cols: alignUp(ownCols, dtypes[own].blockSize),
  });
  if (slotClass.kind === "plane") return [matrix("plane", rows, cols)];
  const { rank } = slotClass;
  const up = matrix("up", rows, rank);
  const parts = [up];
  if (kind !== "embedding" || (tiedEmbeddings && !slotClass.untied)) parts.push(matrix("down", rank, cols));
  // Blocks run along rows and cannot be transposed; half precision holds what they decode to.
  const turnedDType = dtypes[dtype].blockSize === 1 ? dtype : "f16";
  if (kind === "embedding") parts.push(matrix("turned", cols, up.cols, turnedDType));
  return parts;
}

/** Bytes of one slot's matrix. */
export function slotMatrixBytes({ dtype, rows, cols }: SlotMatrix): number {
  return rows * rowBytes(dtype, cols);
}
