import { type DType, dtypes } from "../core/index.js";
import { signsOfTernary, type TernaryHalf } from "../formats/index.js";
import { type ArrangeSigns, fromFloat32, toFloat32 } from "../ggml/index.js";

/** What a piece of a load is: bytes that are at hand, or a blob, in the form in which a pool has it. */
export type PieceContent<Blob> =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "blob"; readonly blob: Blob; readonly form: BlobForm };

/** How a pool has a blob. */
export type BlobForm =
  | { readonly kind: "itself" }
  /** A plane: of a ternary one, one of the two sign planes that it is the sum of; in strips where kernels look for it there. */
  | {
      readonly kind: "plane";
      readonly ternary: { readonly half: TernaryHalf; readonly cols: number } | undefined;
      readonly strips: { readonly inputs: number; readonly outputs: number } | undefined;
    }
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
export function isAsStored(form: BlobForm, arrange: ArrangeSigns | undefined): boolean {
  return form.kind === "itself" || (form.kind === "plane" && !form.ternary && !(form.strips && arrange));
}

/** Puts a blob where a pool has it, in the pool's form; what is left there is filled with zeros. */
export function putFormed(
  into: Uint8Array,
  bytes: Uint8Array,
  form: BlobForm,
  arrange: ArrangeSigns | undefined,
): void {
  if (form.kind !== "plane") {
    putBytes(into, formed(bytes, form));
    return;
  }
  const { ternary, strips } = form;
  const plane = ternary ? signsOfTernary(bytes, ternary.cols, ternary.half) : bytes;
  if (strips && arrange) arrange(into, plane, strips.inputs, strips.outputs);
  else putBytes(into, plane);
}

/** Puts bytes where a pool has them; what is left there is filled with zeros. */
export function putBytes(into: Uint8Array, bytes: Uint8Array): void {
  into.set(bytes);
  into.fill(0, bytes.length);
}

function formed(bytes: Uint8Array, form: Exclude<BlobForm, { kind: "plane" }>): Uint8Array {
  if (form.kind === "itself") return bytes;
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
