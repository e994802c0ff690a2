import { Device, GraphMemory } from "../ggml/index.js";
import type { CodeBook } from "./code-book.js";
import { type DescentProblem, MatrixDescent } from "./matrix-descent.js";
import type { Solution } from "./solution.js";

/** Passes over all weights; later ones change little. */
const SWEEPS = 6;

/**
 * Finds codes and scales that lose little of what a layer does: with E = Δ − Δ̂, H the inputs' second moment, scaled to a mean diagonal of
 * one, D the drift and g the gains, it descends on
 *
 *     tr(E·H·Eᵀ) + 2·tr(E·Dᵀ) + ‖gΔ − Δ̂‖²
 *
 * The first two are the mean squared miss of the layer's output on the calibration text. The last stands for inputs that the text does not
 * have; see docs/decisions/0006.
 *
 * Every row is on its own. Columns are taken in blocks; within one, each weight in turn takes the code that is best given all others
 * (coordinate descent, as in CDQuant, arXiv 2406.17542), and then the block's scales are solved exactly given its codes. The
 * gradient of a block costs one product with its columns of H, which ggml computes; a weight that changes its code changes
 * the gradient of the later ones in its block by a multiple of a row of H.
 */
export class Solver implements Disposable {
  readonly #device: Device;
  readonly #memory: GraphMemory;

  constructor(device: Device) {
    this.#device = device;
    this.#memory = new GraphMemory(device);
  }

  /** Improves `solution` in place. O(sweeps · rows · cols²). */
  solve(problem: DescentProblem, book: CodeBook, solution: Solution, sweeps = SWEEPS): void {
    using descent = new MatrixDescent({ device: this.#device, memory: this.#memory }, problem, book, solution);
    for (let sweep = 0; sweep < sweeps; sweep++) {
      for (let block = 0; block * book.blockSize < problem.shape.cols; block++) descent.improve(block);
    }
  }

  [Symbol.dispose](): void {
    this.#memory[Symbol.dispose]();
  }
}

let shared: Solver | undefined;

/** This thread's solver, which computes on one core: there is a thread for each matrix or part of one. */
export function sharedSolver(): Solver {
  shared ??= new Solver(Device.open({ kind: "cpu", threads: 1 }));
  return shared;
}
