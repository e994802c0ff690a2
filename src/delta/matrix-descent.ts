import type { MatrixShape } from "../formats/index.js";
import { Arena, computeOnce, type Device, type Graph, type GraphMemory, type Tensor } from "../ggml/index.js";
import { assert } from "../util/index.js";
import type { CodeBook } from "./code-book.js";
import type { Calibration } from "./codec.js";
import { DAMPING, dampedMoment, scaleOfMoment } from "./moment.js";
import { roundToHalf } from "./planes.js";
import { type Solution, valueAt } from "./solution.js";

/** What is to be approximated, and which errors matter. */
export interface DescentProblem {
  /** Δ, row-major. */
  readonly difference: Float32Array;
  readonly shape: MatrixShape;
  readonly calibration: Calibration;
  /** Of each block of each row, how much longer than itself Δ is wanted where the text says nothing; see `gainOf`. */
  readonly gains: Float64Array;
}

/** One matrix on its way to better codes and scales: its error and its moment, on a device whose memory is the host's. */
export class MatrixDescent implements Disposable {
  readonly #device: Device;
  readonly #memory: GraphMemory;
  readonly #shape: MatrixShape;
  readonly #book: CodeBook;
  readonly #solution: Solution;
  readonly #arena: Arena;
  /** E, `[cols, rows]`, and its values. */
  readonly #errorTensor: Tensor;
  readonly #error: Float32Array;
  /** H, scaled and damped, and its values. */
  readonly #momentTensor: Tensor;
  readonly #moment: Float32Array;
  /** The part of the gradient that does not depend on E: drift, and what the gains ask for. */
  readonly #pull: Float32Array;

  constructor(
    { device, memory }: { device: Device; memory: GraphMemory },
    { difference, shape, calibration, gains }: DescentProblem,
    book: CodeBook,
    solution: Solution,
  ) {
    const { rows, cols } = shape;
    const { moment, drift } = calibration;
    assert(moment.length === cols * cols, `a moment of ${moment.length} for ${cols} columns`);
    this.#device = device;
    this.#memory = memory;
    this.#shape = shape;
    this.#book = book;
    this.#solution = solution;
    this.#arena = new Arena(device, [
      { name: "error", dtype: "f32", shape: [cols, rows] },
      { name: "moment", dtype: "f32", shape: [cols, cols] },
      { name: "block", dtype: "f32", shape: [Math.min(book.blockSize, cols), rows] },
    ]);
    this.#errorTensor = this.#arena.get("error");
    this.#error = windowOn(this.#errorTensor);
    this.#momentTensor = this.#arena.get("moment");
    this.#moment = windowOn(this.#momentTensor);

    const scale = scaleOfMoment(moment, cols);
    this.#moment.set(dampedMoment(moment, cols));

    const blocks = Math.ceil(cols / book.blockSize);
    this.#pull = new Float32Array(difference.length);
    for (let at = 0; at < difference.length; at++) {
      const gain = gains[Math.floor(at / cols) * blocks + Math.floor((at % cols) / book.blockSize)]!;
      this.#pull[at] = (drift ? drift[at]! * scale : 0) + DAMPING * (gain - 1) * difference[at]!;
      this.#error[at] = difference[at]! - valueAt(solution, book, shape, at);
    }
  }

  /** Better codes and scales for one block of columns of every row. */
  improve(block: number): void {
    const { rows, cols } = this.#shape;
    const { blockSize, codes: codeCount, scales: scaleCount, basis } = this.#book;
    const first = block * blockSize;
    const width = Math.min(blockSize, cols - first);
    const blocks = Math.ceil(cols / blockSize);
    const gradient = this.#gradient(first, width);
    const local = this.#localMoment(first, width);
    const { codes, scales } = this.#solution;

    const values = new Float64Array(codeCount);
    const g = new Float64Array(width);
    const change = new Float32Array(rows * width);
    for (let row = 0; row < rows; row++) {
      const scaleAt = (row * blocks + block) * scaleCount;
      for (let c = 0; c < codeCount; c++) {
        let value = 0;
        for (let k = 0; k < scaleCount; k++) value += scales[scaleAt + k]! * basis[c * scaleCount + k]!;
        values[c] = value;
      }
      for (let j = 0; j < width; j++) g[j] = gradient[row * width + j]!;
      const codeAt = row * cols + first;
      for (let j = 0; j < width; j++) {
        const old = codes[codeAt + j]!;
        const wanted = values[old]! + g[j]! / local[j * width + j]!;
        let best = old;
        let bestMiss = Math.abs(values[old]! - wanted);
        for (let c = 0; c < codeCount; c++) {
          const miss = Math.abs(values[c]! - wanted);
          if (miss < bestMiss) {
            bestMiss = miss;
            best = c;
          }
        }
        if (best === old) continue;
        const d = values[best]! - values[old]!;
        codes[codeAt + j] = best;
        change[row * width + j] = d;
        const rowOfMoment = j * width;
        for (let k = j + 1; k < width; k++) g[k]! -= d * local[rowOfMoment + k]!;
      }
    }
    this.#subtract(change, gradient, first, width);
    this.#refit(block, first, width, gradient);
  }

  /** Solves each row's scales of one block given its codes. */
  #refit(block: number, first: number, width: number, gradient: Float32Array): void {
    const { rows, cols } = this.#shape;
    const { codes, scales } = this.#solution;
    const { blockSize, scales: count, basis } = this.#book;
    const blocks = Math.ceil(cols / blockSize);
    const bases = Array.from({ length: count }, (_, k) => {
      const values = new Float32Array(rows * width);
      for (let row = 0; row < rows; row++) {
        for (let j = 0; j < width; j++) values[row * width + j] = basis[codes[row * cols + first + j]! * count + k]!;
      }
      return values;
    });
    const weighted = bases.map((values) => this.#timesLocalMoment(values, first, width));
    const change = new Float32Array(rows * width);
    const equations = new Float64Array(count * (count + 1));
    for (let row = 0; row < rows; row++) {
      const at = row * width;
      for (let k = 0; k < count; k++) {
        for (let l = 0; l < count; l++) equations[k * (count + 1) + l] = dotOf(weighted[k]!, bases[l]!, at, width);
        equations[k * (count + 1) + count] = dotOf(gradient, bases[k]!, at, width);
      }
      const step = solveSymmetric(equations, count);
      const scaleAt = (row * blocks + block) * count;
      for (let k = 0; k < count; k++) {
        const old = scales[scaleAt + k]!;
        const next = roundToHalf(old + step[k]!);
        const moved = next - old;
        if (moved === 0 || !Number.isFinite(next)) continue;
        scales[scaleAt + k] = next;
        const values = bases[k]!;
        for (let j = at; j < at + width; j++) change[j]! += moved * values[j]!;
      }
    }
    for (let row = 0; row < rows; row++) {
      for (let j = 0; j < width; j++) this.#error[row * cols + first + j]! -= change[row * width + j]!;
    }
  }

  /** Takes a change of a block's values from its error and from the gradient there. */
  #subtract(change: Float32Array, gradient: Float32Array, first: number, width: number): void {
    const { rows, cols } = this.#shape;
    const effect = this.#timesLocalMoment(change, first, width);
    for (let i = 0; i < gradient.length; i++) gradient[i]! -= effect[i]!;
    for (let row = 0; row < rows; row++) {
      for (let j = 0; j < width; j++) this.#error[row * cols + first + j]! -= change[row * width + j]!;
    }
  }

  /** (E·H + D) for columns of a block: `[rows, width]`. */
  #gradient(first: number, width: number): Float32Array {
    const { rows, cols } = this.#shape;
    const gradient = this.#product((g) =>
      g.mulMat(g.view(this.#momentTensor, [cols, width], { offset: first * cols * 4 }), this.#errorTensor),
    );
    for (let row = 0; row < rows; row++) {
      for (let j = 0; j < width; j++) gradient[row * width + j]! += this.#pull[row * cols + first + j]!;
    }
    return gradient;
  }

  /** Values of a block `[rows, width]` times H within the block. */
  #timesLocalMoment(values: Float32Array, first: number, width: number): Float32Array {
    const { rows, cols } = this.#shape;
    const block = this.#arena.get("block");
    windowOn(block).set(values);
    return this.#product((g) => {
      const local = g.view(this.#momentTensor, [width, width], {
        strides: [cols * 4],
        offset: (first * cols + first) * 4,
      });
      return g.mulMat(local, g.view(block, [width, rows], { strides: [width * 4], offset: 0 }));
    });
  }

  #product(build: (g: Graph) => Tensor): Float32Array {
    return computeOnce({ device: this.#device, memory: this.#memory }, build);
  }

  /** H within a block, `[width, width]`. */
  #localMoment(first: number, width: number): Float64Array {
    const { cols } = this.#shape;
    const local = new Float64Array(width * width);
    for (let i = 0; i < width; i++) {
      for (let j = 0; j < width; j++) local[i * width + j] = this.#moment[(first + i) * cols + first + j]!;
    }
    return local;
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }
}

/** The values of a tensor where they lie. */
function windowOn(tensor: Tensor): Float32Array {
  const bytes = tensor.hostBytes(0, tensor.byteLength);
  return new Float32Array(bytes.buffer, bytes.byteOffset, tensor.elements);
}

/** Of `width` elements from `at` on. */
function dotOf(a: Float32Array, b: Float32Array, at: number, width: number): number {
  let sum = 0;
  for (let j = at; j < at + width; j++) sum += a[j]! * b[j]!;
  return sum;
}

/** Solves a small positive semidefinite system, `[count × (count + 1)]` with the right-hand side last; 0 where it is undetermined. */
function solveSymmetric(m: Float64Array, count: number): Float64Array {
  const width = count + 1;
  let largest = Number.MIN_VALUE;
  for (let i = 0; i < count; i++) largest = Math.max(largest, m[i * width + i]!);
  for (let i = 0; i < count; i++) m[i * width + i]! += 1e-6 * largest;
  for (let i = 0; i < count; i++) {
    for (let row = i + 1; row < count; row++) {
      const factor = m[row * width + i]! / m[i * width + i]!;
      for (let j = i; j < width; j++) m[row * width + j]! -= factor * m[i * width + j]!;
    }
  }
  const x = new Float64Array(count);
  for (let i = count - 1; i >= 0; i--) {
    let value = m[i * width + count]!;
    for (let j = i + 1; j < count; j++) value -= m[i * width + j]! * x[j]!;
    x[i] = value / m[i * width + i]!;
  }
  return x;
}
