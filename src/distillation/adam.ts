import type { Trainable } from "./trainable.js";

const MEAN_DECAY = 0.9;
const SQUARE_DECAY = 0.999;
/** Against division by zero where a gradient has always been 0. */
const EPSILON = 1e-12;

/** Adam (Kingma and Ba, arXiv 1412.6980) over everything that is trained. */
export class Adam {
  readonly #trainables: readonly Trainable[];
  readonly #means: readonly Float32Array[];
  readonly #squares: readonly Float32Array[];
  #steps = 0;

  constructor(trainables: readonly Trainable[]) {
    this.#trainables = trainables;
    this.#means = trainables.map(({ offsets }) => new Float32Array(offsets.length));
    this.#squares = trainables.map(({ offsets }) => new Float32Array(offsets.length));
  }

  /** Moves every offset against its gradient by about `rate`, sets the gradients to 0 and stores. */
  step(rate: number): void {
    this.#steps += 1;
    const meanShare = 1 - MEAN_DECAY ** this.#steps;
    const squareShare = 1 - SQUARE_DECAY ** this.#steps;
    this.#trainables.forEach((trainable, index) => {
      const { offsets, gradient } = trainable;
      const mean = this.#means[index]!;
      const square = this.#squares[index]!;
      for (let i = 0; i < offsets.length; i++) {
        const slope = gradient[i]!;
        mean[i] = MEAN_DECAY * mean[i]! + (1 - MEAN_DECAY) * slope;
        square[i] = SQUARE_DECAY * square[i]! + (1 - SQUARE_DECAY) * slope * slope;
        offsets[i]! -= (rate * (mean[i]! / meanShare)) / (Math.sqrt(square[i]! / squareShare) + EPSILON);
      }
      gradient.fill(0);
      trainable.store();
    });
  }
}
