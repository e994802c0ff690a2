import { type DType, dtypes, NativeError, rowBytes } from "../core/index.js";
import { bf16ToNumber, f16ToNumber } from "../util/index.js";
import { tensorCore } from "./library.js";

const halfTables = new Map<DType, Float32Array>();
const dequantizers = new Map<DType, (from: Uint8Array, to: Float32Array, elements: number) => void>();

/**
 * Stored bytes → numbers, for every dtype of weights: block types by ggml's own rows, 16-bit floats by table.
 *
 * @param elements must fill whole blocks of `dtype`; `bytes` holds exactly that many
 */
export function toFloat32(dtype: DType, bytes: Uint8Array, elements: number): Float32Array {
  if (bytes.byteLength !== rowBytes(dtype, elements)) {
    throw new RangeError(
      `${elements} elements of ${dtype} are ${rowBytes(dtype, elements)} bytes, got ${bytes.byteLength}`,
    );
  }
  refuseIntegers(dtype);
  if (dtype === "f32") return new Float32Array(ownBuffer(bytes), 0, elements);
  const values = new Float32Array(elements);
  if (dtype === "f16" || dtype === "bf16") {
    const table = halfTable(dtype);
    const halves = new Uint16Array(ownBuffer(bytes), 0, elements);
    for (let i = 0; i < elements; i++) values[i] = table[halves[i]!]!;
    return values;
  }
  let dequantize = dequantizers.get(dtype);
  if (!dequantize) {
    dequantize = tensorCore().dequantize(dtype.replace(/_k$/, "_K"));
    dequantizers.set(dtype, dequantize);
  }
  dequantize(bytes, values, elements);
  return values;
}

/**
 * Numbers → stored bytes, by ggml's reference rounding.
 *
 * @param values rows of `rowLength`, one after the other
 */
export function fromFloat32(dtype: DType, values: Float32Array, rowLength: number): Uint8Array {
  refuseIntegers(dtype);
  if (values.length % rowLength !== 0) throw new RangeError(`${values.length} values are not rows of ${rowLength}`);
  const rows = values.length / rowLength;
  const bytes = new Uint8Array(rowBytes(dtype, rowLength) * rows);
  const written = tensorCore().quantize(dtypes[dtype].id, values, bytes, 0, rows, rowLength, null);
  if (Number(written) !== bytes.byteLength) {
    throw new NativeError(
      `ggml wrote ${written} bytes for ${rows} rows of ${rowLength} in ${dtype}, expected ${bytes.byteLength}`,
    );
  }
  return bytes;
}

function refuseIntegers(dtype: DType): void {
  if (dtype === "i32" || dtype === "i64") throw new RangeError(`${dtype} holds whole numbers, not weights`);
}

function halfTable(dtype: "f16" | "bf16"): Float32Array {
  let table = halfTables.get(dtype);
  if (!table) {
    const convert = dtype === "f16" ? f16ToNumber : bf16ToNumber;
    table = Float32Array.from({ length: 65536 }, (_, half) => convert(half));
    halfTables.set(dtype, table);
  }
  return table;
}

/** The bytes from the start of a buffer of their own: a copy unless they are that already. */
function ownBuffer(bytes: Uint8Array): ArrayBuffer {
  const whole = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength;
  return (whole ? bytes : bytes.slice()).buffer as ArrayBuffer;
}
