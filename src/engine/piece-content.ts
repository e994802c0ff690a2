import { type DType, dtypes } from "../core/index.js";
import { type ArrangeSigns, fromFloat32, toFloat32 } from "../ggml/index.js";

/** What a piece of a load is: bytes that are at hand, or a blob, in the form in which a pool has it. */
export type PieceContent<Blob> =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "blob"; readonly blob: Blob; readonly form: BlobForm };

/** How a pool has a blob. */
export type BlobForm =
  | { readonly kind: "itself" }
  /** A sign plane: in strips where kernels look for it there, else as it is. */
  | { readonly kind: "strips"; readonly inputs: number; readonly outputs: number }
  /** As f32. */
  | { readonly kind: "numbers"; readonly dtype: DType }
  /** `[rank, cols in whole blocks]` transposed, `[cols, rank in whole blocks]`. */
  | {
      readonly kind: "turned";
      readonly from: DType;
      readonly rank: number;
      readonly to: DType;
      readonly paddedRank: number;
      readonly cols: number;
    };

/** Whether a pool has the very bytes of a blob. */
export function isAsStored({ kind }: BlobForm, arrange: ArrangeSigns | undefined): boolean {
  return kind === "itself" || (kind === "strips" && !arrange);
}

/** A blob as a pool has it: the same bytes where that is their form. */
export function formed(bytes: Uint8Array, form: BlobForm, arrange: ArrangeSigns | undefined): Uint8Array {
  if (form.kind === "itself") return bytes;
  if (form.kind === "strips") {
    if (!arrange) return bytes;
    const arranged = new Uint8Array(bytes.length);
    arrange(arranged, bytes, form.inputs, form.outputs);
    return arranged;
  }
  if (form.kind === "numbers") {
    const { buffer } = toFloat32(form.dtype, bytes, elementsOf(form.dtype, bytes));
    return new Uint8Array(buffer);
  }
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
