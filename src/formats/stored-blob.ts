import { InvalidFile } from "../core/index.js";
import { CorruptCode } from "../entropy/index.js";
import { assert, bf16ToNumber, f16ToNumber, numberToF16, sha256 } from "../util/index.js";
import type { ByteSource } from "./byte-source.js";
import type { DeltaBlob, MatrixShape, PlaneDType } from "./delta-tensor.js";
import { type DecodePlane, decodePlaneCode } from "./plane-code.js";

/** Where a blob lies in a variant's file, and what makes it of those bytes. Plain data, so that another thread can do it. */
export interface StoredBlob extends Pick<DeltaBlob, "name" | "byteLength" | "sha256"> {
  /** Of its first byte in the file. */
  readonly offset: number;
  /** In the file. */
  readonly storedBytes: number;
  readonly form: StoredForm;
}

/** How a file has a blob. */
export type StoredForm =
  /** As it is. */
  | { readonly kind: "plain" }
  /** As plane-code.ts draws it. */
  | { readonly kind: "coded"; readonly dtype: PlaneDType; readonly shape: MatrixShape }
  /** As floats that must be numbers in half precision: values that stay as they are. */
  | { readonly kind: "values"; readonly tensor: string; readonly dtype: FloatForm }
  /** As a matrix of such floats, to be scaled and filled up with zeros at the ends of its rows and after the last: in half precision. */
  | {
      readonly kind: "scaled";
      readonly tensor: string;
      readonly dtype: FloatForm;
      readonly cols: number;
      readonly filledCols: number;
      readonly scale: number;
    };

type FloatForm = "F32" | "F16" | "BF16";

const halfMax = 65504;

/**
 * Reads a blob, verified.
 *
 * @param into has the blob's length; what is in it after an error is undefined
 * @throws {InvalidFile} if the bytes are not those that were written, or no numbers
 */
export async function readStored(source: ByteSource, blob: StoredBlob, into: Uint8Array): Promise<void> {
  const stored = blob.form.kind === "plain" ? into : new Uint8Array(blob.storedBytes);
  await source.read(blob.offset, stored);
  unpackBlob(source.path, blob, stored, into);
}

/**
 * Turns what a file has of a blob into the blob, verified. A plain one may be its own `into`.
 *
 * @param path of the file, for errors
 * @param into has the blob's length; what is in it after an error is undefined
 * @param decodePlane what coded planes are decoded by
 * @throws {InvalidFile} if the bytes are not those that were written, or no numbers
 */
export function unpackBlob(
  path: string,
  blob: StoredBlob,
  stored: Uint8Array,
  into: Uint8Array,
  decodePlane: DecodePlane = decodePlaneCode,
): void {
  const { name, byteLength, storedBytes, form } = blob;
  assert(stored.length === storedBytes, `${name} takes ${storedBytes} bytes in its file, ${stored.length} were read`);
  assert(into.length === byteLength, `${name} has ${byteLength} bytes, ${into.length} were asked for`);
  const details = { blob: name };
  if (blob.sha256 !== null && sha256(stored) !== blob.sha256)
    throw new InvalidFile(path, `the bytes of ${name} do not match their checksum`, { details });
  if (form.kind === "plain") {
    if (into !== stored) into.set(stored);
  } else if (form.kind === "coded") {
    try {
      decodePlane(form, stored, into);
    } catch (cause) {
      if (!(cause instanceof CorruptCode)) throw cause;
      throw new InvalidFile(path, `${name} is not what it should be`, { details, cause });
    }
  } else if (form.kind === "values") {
    checkHalves(path, form.tensor, numbersOf(form.dtype, stored), 1);
    into.set(stored);
  } else {
    const { tensor, dtype, scale, cols, filledCols } = form;
    const values = numbersOf(dtype, stored);
    checkHalves(path, tensor, values, scale);
    const halves = new Uint16Array(into.length / 2);
    for (let at = 0; at < values.length; at++)
      halves[Math.floor(at / cols) * filledCols + (at % cols)] = numberToF16(values[at]! * scale);
    into.set(new Uint8Array(halves.buffer));
  }
}

/** @throws {InvalidFile} where one is not a number, or too large for half precision */
function checkHalves(path: string, tensor: string, values: Float32Array, scale: number): void {
  const bad = values.findIndex((value) => !(Math.abs(value * scale) <= halfMax));
  if (bad === -1) return;
  const problem = `tensor "${tensor}" holds ${values[bad]}, of which half precision has no number`;
  throw new InvalidFile(path, problem, { details: { tensor } });
}

function numbersOf(dtype: FloatForm, bytes: Uint8Array): Float32Array {
  const { buffer } = bytes.slice(); // where it begins on a whole number
  if (dtype === "F32") return new Float32Array(buffer);
  return Float32Array.from(new Uint16Array(buffer), dtype === "F16" ? f16ToNumber : bf16ToNumber);
}
