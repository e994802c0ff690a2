import { type DType, dtypes } from "../core/index.js";
import { signsOfTernary, type TernaryHalf } from "../formats/index.js";
import { fromFloat32, toFloat32 } from "../ggml/index.js";

/** What a piece of a load is: bytes that are at hand, or a blob, in the form in which a pool has it. */
export type PieceContent<Blob> =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "blob"; readonly blob: Blob; readonly form: BlobForm };

/** How a pool has a blob. */
export type BlobForm =
  | { readonly kind: "itself" }
  /** As f32. */
  | { readonly kind: "numbers"; readonly dtype: DType }
  /** A ternary plane as one of the two sign planes that it is the sum of. */
  | { readonly kind: "signs"; readonly half: TernaryHalf; readonly cols: number }
  /** `[rank, cols in whole blocks]` transposed, `[cols, rank in whole blocks]`. */
  | {
      readonly kind: "turned";
      readonly from: DType;
      readonly rank: number;
      readonly to: DType;
      readonly paddedRank: number;
      readonly cols: number;
    };

/** A blob as a pool has it: the same bytes where that is their form. */
export function formed(bytes: Uint8Array, form: BlobForm): Uint8Array {
  if (form.kind === "itself") return bytes;
  if (form.kind === "numbers") {
    const { buffer } = toFloat32(form.dtype, bytes, elementsOf(form.dtype, bytes));
    return new Uint8Array(buffer);
  }
  if (form.kind === "signs") return signsOfTernary(bytes, form.cols, form.half);
  const { from, rank, to, paddedRank, cols } = form;
  const down = toFloat32(from, bytes, elementsOf(from, bytes));
  const paddedCols = down.length / rank;
  const turned = new Float32Array(cols * paddedRank);
  for (let col = 0; col < cols; col++) {
    for (let k = 0; k < rank; k++) turned[col * paddedRank + k] = down[k * paddedCols + col]!;
  }
  return fromFloat32(to, turned, paddedRank);
}

function elementsOf(dtype: DType, { byteLength }: Uint8Array): number {
  const { blockSize, blockBytes } = dtypes[dtype];
  return (byteLength / blockBytes) * blockSize;
}
