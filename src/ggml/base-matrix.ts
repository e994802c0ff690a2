import { type DType, dtypes } from "../core/index.js";
import { assert } from "../util/index.js";
import { type Activations, allThreads } from "./activations.js";
import type { Device } from "./device.js";
import { type Graph, GraphError } from "./graph.js";
import type { Kernels } from "./kernels.js";
import { fromFloat32, toFloat32 } from "./quantize.js";
import { pointers, type Tensor } from "./tensor.js";

/** What is held interleaved: its bytes mean the same, in another order (native/base-matrix.h, native/float-matrix.h). */
const floatDTypes: readonly DType[] = ["f16", "bf16"];
const roundedDType = "q8_0";
/** Outputs that lie side by side, of the base and of sign planes: `strip_outputs` in native/base-matrix.h. */
export const stripOutputs = 16;
/** Stored types that kernels round to 8 bits; others are turned to f32 first. */
const readableDTypes: readonly DType[] = ["f32", "f16", "bf16", "q8_0"];
/** GGML_MAX_SRC, less the result's own and the activations. */
const matricesMax = 8;

/** A matrix of the base: `[in, out]`. Where it is interleaved, kernels multiply it and look up its rows, else ggml does. */
export class BaseMatrix {
  readonly tensor: Tensor;
  readonly isInterleaved: boolean;

  constructor(tensor: Tensor, options: { isInterleaved: boolean }) {
    this.tensor = tensor;
    this.isInterleaved = options.isInterleaved;
  }

  /** Whether a device multiplies matrices of this form by kernels: `[in, out]`. */
  static canInterleave(device: Device, dtype: DType, [inputs, outputs]: readonly [number, number]): boolean {
    if (!device.kernels || outputs % stripOutputs !== 0) return false;
    return dtype === roundedDType || (floatDTypes.includes(dtype) && inputs % 2 === 0);
  }

  /** Interleaved, of weights in 8 bits: multiplied with activations in 8 bits. Others take them as they are. */
  get isRounded(): boolean {
    return this.isInterleaved && this.tensor.dtype === roundedDType;
  }

  /**
   * Writes an interleaved matrix from its stored rows, on another thread but for unusual conversions.
   *
   * @param bytes as stored, in `dtype`; they must stay as they are meanwhile
   */
  async writeInterleaved(device: Device, dtype: DType, bytes: Uint8Array): Promise<void> {
    const { tensor } = this;
    const { kernels, library } = device;
    const address = library.base.getData(tensor.pointer);
    assert(kernels && this.isInterleaved && address !== null, `${tensor} is not interleaved`);
    const [inputs, outputs] = tensor.extents;
    const floats = () => toFloat32(dtype, bytes, tensor.elements);
    if (!this.isRounded) {
      const from = dtype === tensor.dtype ? bytes : fromFloat32(tensor.dtype, floats(), inputs);
      await kernels.interleaveFloats(address, from, inputs, outputs);
      return;
    }
    const isReadable = readableDTypes.includes(dtype);
    const from = isReadable ? bytes : new Uint8Array(floats().buffer);
    await kernels.interleave(address, from, dtypes[isReadable ? dtype : "f32"].id, inputs, outputs);
  }

  /** Rows by number: rows `[m]` i32. → `[in, m]` f32 */
  getRows(g: Graph, rows: Tensor): Tensor {
    const { tensor } = this;
    if (!this.isInterleaved) return g.getRows(tensor, rows);
    const kernels = kernelsOf(g);
    const [inputs] = tensor.extents;
    const count = rows.elements;
    if (rows.dtype !== "i32" || rows.extents[0] !== count) {
      throw new GraphError("lookUp", "rows must be i32 numbers", [tensor, rows]);
    }
    return g.operation("lookUp", [tensor, rows], [inputs, count, 1, 1], (base, c) => {
      const operands = pointers([tensor, rows]);
      const operation = this.isRounded ? kernels.lookUp : kernels.lookUpFloats;
      return base.custom(c, dtypes.f32.id, inputs, count, 1, 1, operands, 2, operation, allThreads, 0n);
    });
  }
}

/** Where a product goes. */
export interface ProductPlace {
  /** What it is added to, in place: `[all outputs, rows]`. */
  readonly onto?: Tensor | undefined;
  /** Rows before this one are not computed: they stay what they are in `onto`, and are anything without it. Default 0. */
  readonly firstRow?: number;
}

/** Whether one product may be made of these matrices. */
export function canMultiplyTogether(matrices: readonly BaseMatrix[]): boolean {
  const [first] = matrices;
  return matrices.every((own) => own.isInterleaved && own.tensor.dtype === first!.tensor.dtype);
}

/** The product of interleaved matrices of one dtype with one input: y `[all outputs, rows]`, the outputs of the first matrix first. */
export function multiplyInterleaved(
  g: Graph,
  matrices: readonly BaseMatrix[],
  x: Activations,
  { onto, firstRow = 0 }: ProductPlace = {},
): Tensor {
  const kernels = kernelsOf(g);
  const weights = matrices.map(({ tensor }) => tensor);
  const outputs = weights.reduce((sum, { extents }) => sum + extents[1], 0);
  const require = (condition: boolean, problem: string) => {
    if (!condition) throw new GraphError("multiply", problem, onto ? [...weights, onto] : weights);
  };
  require(matrices.length > 0 &&
    matrices.length <= matricesMax &&
    canMultiplyTogether(matrices), "matrices must be interleaved, of one dtype");
  require(weights.every(({ extents }) => extents[0] === x.inputs), `inner dimensions differ from ${x.inputs}`);
  const fits =
    !onto || (onto.dtype === "f32" && onto.isContiguous && String(onto.extents) === String([outputs, x.rows, 1, 1]));
  require(fits, `what is added to must be ${outputs} × ${x.rows}`);
  require(firstRow >= 0 && firstRow <= x.rows, `there is no row ${firstRow}`);
  const [input, operation] = matrices[0]!.isRounded
    ? [x.quantizedBy(kernels), kernels.multiply]
    : [x.values, kernels.multiplyFloats];
  const operands = [input, ...weights];
  const place = BigInt(onto ? 1 : 0) | (BigInt(firstRow) << 32n);
  return g.operation("multiply", onto ? [onto, ...operands] : operands, [outputs, x.rows, 1, 1], (base, c) =>
    onto
      ? base.customInplace(c, onto.pointer, pointers(operands), operands.length, operation, allThreads, place)
      : base.custom(
          c,
          dtypes.f32.id,
          outputs,
          x.rows,
          1,
          1,
          pointers(operands),
          operands.length,
          operation,
          allThreads,
          place,
        ),
  );
}

function kernelsOf(g: Graph): Kernels {
  assert(g.kernels, "an interleaved matrix is used on a device without kernels");
  return g.kernels;
}
