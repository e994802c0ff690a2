import { type DType, dtypes } from "../core/index.js";
import { leastTrits, planeBytes, signsOfTernary, type TernaryHalf } from "../formats/index.js";
import { type ArrangePlanes, fromFloat32, toFloat32 } from "../ggml/index.js";

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

/** A blob that pieces of a load are made of: what is read and decoded once for all of them. */
export interface BlobUses {
  readonly blob: string;
  /** Indexes of the pieces, and how each has it. */
  readonly uses: readonly { readonly piece: number; readonly form: BlobForm }[];
}

/** All blobs of a load, in the order in which its pieces have them first. */
export function blobsOf(pieces: readonly { readonly content: PieceContent<string> }[]): BlobUses[] {
  const blobs = new Map<string, BlobUses["uses"][number][]>();
  for (const [piece, { content }] of pieces.entries()) {
    if (content.kind !== "blob") continue;
    const uses = blobs.get(content.blob) ?? [];
    uses.push({ piece, form: content.form });
    blobs.set(content.blob, uses);
  }
  return [...blobs].map(([blob, uses]) => ({ blob, uses }));
}

/** Whether a pool has the very bytes of a blob. */
export function isAsStored(form: BlobForm, arrange: ArrangePlanes | undefined): boolean {
  return form.kind === "itself" || (form.kind === "plane" && !form.ternary && !(form.strips && arrange));
}

/** Puts a blob where a pool has it, in the pool's form; what is left there is filled with zeros. */
export function putFormed(
  into: Uint8Array,
  bytes: Uint8Array,
  form: BlobForm,
  arrange: ArrangePlanes | undefined,
): void {
  if (form.kind !== "plane") {
    putBytes(into, formed(bytes, form));
    return;
  }
  const { ternary, strips } = form;
  if (!strips || !arrange) {
    putBytes(into, ternary ? signsOfTernary(bytes, ternary.cols, ternary.half) : bytes);
    return;
  }
  const { inputs, outputs } = strips;
  const all = filledUp(bytes, planeBytes(ternary ? "tq1_0" : "q1_0", { rows: outputs, cols: inputs }));
  if (ternary) arrange.ternary(into, all, inputs, outputs, leastTrits[ternary.half]);
  else arrange.signs(into, all, inputs, outputs);
}

/** The planes of a variant with fewer words than the base have fewer rows. */
function filledUp(bytes: Uint8Array, byteLength: number): Uint8Array {
  if (bytes.length === byteLength) return bytes;
  const whole = new Uint8Array(byteLength);
  whole.set(bytes);
  return whole;
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
