import type { MatrixShape } from "../formats/index.js";
import { Arena, computeOnce, Device, Graph, GraphMemory, type Tensor } from "../ggml/index.js";
import { assert } from "../util/index.js";
import type { CodeBook } from "./code-book.js";
import { roundToHalf } from "./planes.js";
import { type Solution, valueAt } from "./solution.js";

/** What a linear layer's inputs say about the errors that matter in its weights. */
export interface Calibration {
  /** Second moment of the layer's inputs, E[x xᵀ]: symmetric, `[cols, cols]`. */
  readonly moment: Float32Array;
  /**
   * What the layer should do beyond its own difference, because the layers before it are compressed as well: E[e xᵀ], `[rows, cols]`,
   * where e is by how much its output misses the fine-tune's if nothing of its own were lost.
   */
  readonly drift?: Float32Array;
  /** What every input counts beside its energy, as a share of the mean energy, so that rare ones are not given up. Default .05. */
  readonly damping?: number;
}

const dampingDefault = 0.05;

/**
 * Finds codes and scales that lose little of what a layer does: with E = Δ − Δ̂, H the inputs' second moment and D the drift, it
 * descends on tr(E·H·Eᵀ) + 2·tr(E·Dᵀ), the mean squared miss of the layer's output.
 *
 * Every row is on its own. Columns are taken in blocks; within one, each weight in turn takes the code that is best given all others
 * (coordinate descent, as in CDQuant, arXiv 2406.17542), and then the block's scales are solved exactly given its codes. The
 * gradient E·H + D of a block costs one product with 128 columns of H, which ggml computes; a weight that changes its code changes
 * the gradient of the later ones in its block by a multiple of a row of H.
 */
export class Solver implements Disposable {
  readonly #device: Device;
  readonly #memory: GraphMemory;

  constructor(device: Device) {
    this.#device = device;
    this.#memory = new GraphMemory(device);
  }

  /**
   * Improves `start` in place.
   *
   * @param difference Δ, row-major
   * @param sweeps passes over all weights
   * @returns what of tr(Δ·H·Δᵀ) is left after the last sweep (0 is perfect; with a drift it may be negative)
   */
  solve(
    difference: Float32Array,
    { rows, cols }: MatrixShape,
    calibration: Calibration,
    book: CodeBook,
    start: Solution,
    options: { sweeps: number },
  ): { before: number; after: number } {
    using work = new Workspace(this.#device, this.#memory, { rows, cols }, calibration, book);
    work.begin(difference, start);
    const before = work.objective();
    for (let sweep = 0; sweep < options.sweeps; sweep++) {
      for (let block = 0; block * book.blockSize < cols; block++) work.improve(block, start);
    }
    return { before, after: work.objective() };
  }

  /** tr(M·H·Mᵀ): the energy of what a matrix does to inputs of this second moment. */
  energy(matrix: Float32Array, { rows, cols }: MatrixShape, moment: Float32Array): number {
    const product = computeOnce(this.#device, this.#memory, (g, bind) =>
      g.mulMat(bind("f32", [cols, cols], moment), bind("f32", [cols, rows], matrix)),
    );
    let sum = 0;
    for (let i = 0; i < product.length; i++) sum += product[i]! * matrix[i]!;
    return Math.max(0, sum);
  }

  [Symbol.dispose](): void {
    this.#memory[Symbol.dispose]();
  }
}

let shared: Solver | undefined;

/** Passes that codecs ask for; later ones change little. */
export const solverSweeps = 6;

/** This thread's solver, which computes on one core: there is a thread for each matrix or part of one. */
export function sharedSolver(): Solver {
  shared ??= new Solver(Device.open({ kind: "cpu", threads: 1 }));
  return shared;
}

/** The state of one matrix being solved: its error and moment on the device, which is the host. */
class Workspace implements Disposable {
  readonly #device: Device;
  readonly #memory: GraphMemory;
  readonly #shape: MatrixShape;
  readonly #book: CodeBook;
  readonly #arena: Arena;
  /** E, `[cols, rows]`, and its values. */
  readonly #errorTensor: Tensor;
  readonly #error: Float32Array;
  /** H, damped and scaled to a mean diagonal of 1, and its values. */
  readonly #momentTensor: Tensor;
  readonly #moment: Float32Array;
  readonly #drift: Float32Array | undefined;
  readonly #driftScale: number;
  #norm = 0;

  constructor(device: Device, memory: GraphMemory, shape: MatrixShape, calibration: Calibration, book: CodeBook) {
    const { rows, cols } = shape;
    assert(calibration.moment.length === cols * cols, `a moment of ${calibration.moment.length} for ${cols} columns`);
    this.#device = device;
    this.#memory = memory;
    this.#shape = shape;
    this.#book = book;
    this.#arena = new Arena(device, [
      { name: "error", dtype: "f32", shape: [cols, rows] },
      { name: "moment", dtype: "f32", shape: [cols, cols] },
      { name: "block", dtype: "f32", shape: [Math.min(book.blockSize, cols), rows] },
    ]);
    this.#errorTensor = this.#arena.get("error");
    this.#error = valuesOf(this.#errorTensor);
    this.#momentTensor = this.#arena.get("moment");
    this.#moment = valuesOf(this.#momentTensor);
    let trace = 0;
    for (let i = 0; i < cols; i++) trace += calibration.moment[i * cols + i]!;
    const scale = trace > 0 ? cols / trace : 0;
    for (let i = 0; i < this.#moment.length; i++) this.#moment[i] = calibration.moment[i]! * scale;
    for (let i = 0; i < cols; i++) this.#moment[i * cols + i]! += calibration.damping ?? dampingDefault;
    this.#drift = calibration.drift;
    this.#driftScale = scale;
  }

  begin(difference: Float32Array, solution: Solution): void {
    this.#error.set(difference);
    this.#norm = this.#energy();
    for (let at = 0; at < difference.length; at++) this.#error[at]! -= valueAt(solution, this.#book, this.#shape, at);
  }

  /** tr(E·H·Eᵀ) + 2·tr(E·Dᵀ) over tr(Δ·H·Δᵀ). */
  objective(): number {
    return this.#norm === 0 ? 0 : this.#energy(this.#drift) / this.#norm;
  }

  /** Better codes and scales for one block of columns of every row. */
  improve(block: number, solution: Solution): void {
    const { rows, cols } = this.#shape;
    const { blockSize, codes: codeCount, scales: scaleCount, basis } = this.#book;
    const first = block * blockSize;
    const width = Math.min(blockSize, cols - first);
    const blocks = Math.ceil(cols / blockSize);
    const gradient = this.#gradient(first, width);
    const local = this.#localMoment(first, width);
    const { codes, scales } = solution;

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
    this.#refit(block, first, width, gradient, solution);
  }

  /** Solves each row's scales of one block given its codes. */
  #refit(block: number, first: number, width: number, gradient: Float32Array, { codes, scales }: Solution): void {
    const { rows, cols } = this.#shape;
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
        for (let l = 0; l <= count; l++) {
          const [a, b] = l < count ? [weighted[k]!, bases[l]!] : [gradient, bases[k]!];
          let sum = 0;
          for (let j = at; j < at + width; j++) sum += a[j]! * b[j]!;
          equations[k * (count + 1) + l] = sum;
        }
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
    const drift = this.#drift;
    if (drift) {
      for (let row = 0; row < rows; row++) {
        for (let j = 0; j < width; j++) gradient[row * width + j]! += drift[row * cols + first + j]! * this.#driftScale;
      }
    }
    return gradient;
  }

  /** Values of a block `[rows, width]` times H within the block. */
  #timesLocalMoment(values: Float32Array, first: number, width: number): Float32Array {
    const { rows, cols } = this.#shape;
    const block = this.#arena.get("block");
    valuesOf(block).set(values);
    return this.#product((g) => {
      const local = g.view(this.#momentTensor, [width, width], {
        strides: [cols * 4],
        offset: (first * cols + first) * 4,
      });
      return g.mulMat(local, g.view(block, [width, rows], { strides: [width * 4], offset: 0 }));
    });
  }

  #product(build: (g: Graph) => Tensor): Float32Array {
    using graph = new Graph(this.#device, { tensorsMax: 16 });
    const result = build(graph);
    graph.output(result);
    graph.allocate(this.#memory);
    graph.compute();
    const values = new Float32Array(result.elements);
    result.read(values);
    return values;
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

  #energy(drift?: Float32Array): number {
    const product = this.#product((g) => g.mulMat(this.#momentTensor, this.#errorTensor));
    let sum = 0;
    for (let i = 0; i < product.length; i++) sum += product[i]! * this.#error[i]!;
    if (drift) for (let i = 0; i < product.length; i++) sum += 2 * drift[i]! * this.#driftScale * this.#error[i]!;
    return sum;
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }
}

function valuesOf(tensor: Tensor): Float32Array {
  const bytes = tensor.hostBytes(0, tensor.byteLength);
  return new Float32Array(bytes.buffer, bytes.byteOffset, tensor.elements);
}

/** Solves a small positive semidefinite system, `[count × (count + 1)]` with the right-hand side last; 0 where it is undetermined. */
function solveSymmetric(m: Float64Array, count: number): Float64Array {
  const width = count + 1;
  const floor = 1e-6 * Math.max(...Array.from({ length: count }, (_, k) => m[k * width + k]!), Number.MIN_VALUE);
  for (let i = 0; i < count; i++) m[i * width + i]! += floor;
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
