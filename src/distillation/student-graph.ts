import { dtypes } from "../core/index.js";
import { type Graph, gradients, type Tensor } from "../ggml/index.js";
import type { GradientSink, Parameters } from "./block.js";
import { expand, type RowWindow } from "./stored-weights.js";
import type { StudentWeights } from "./student-weights.js";

const { product, sumRows, transpose } = gradients;

/**
 * The student's parameters in one graph, where its matrices are put together as base + planes, and the gradients of scales and
 * vectors, which `collect` adds to what is known of them once the graph was computed.
 */
export class StudentGraph implements Parameters, GradientSink {
  readonly #g: Graph;
  readonly #weights: StudentWeights;
  readonly #rowNumbers: Tensor;
  readonly #window: RowWindow | undefined;
  readonly #memo = new Map<string, Tensor>();
  readonly #collectors: (() => void)[] = [];

  /** @param window the rows that matrices consist of here, where that is not all */
  constructor(g: Graph, weights: StudentWeights, rowNumbers: Tensor, window?: RowWindow) {
    this.#g = g;
    this.#weights = weights;
    this.#rowNumbers = rowNumbers;
    this.#window = window;
  }

  matrix(name: string): Tensor {
    return this.#once(name, () =>
      this.#sum(name, this.#expand(this.#weights.base.get(name)), (index) => this.#plane(name, index)),
    );
  }

  /** Rows of a matrix by their numbers `[n]` i32. → `[in, n]` */
  rows(name: string, numbers: Tensor): Tensor {
    const g = this.#g;
    const planes = this.#weights.planes.get(name) ?? [];
    return this.#sum(name, g.getRows(this.#weights.base.get(name), numbers), (index) =>
      g.getRows(planes[index]!.tensor, numbers),
    );
  }

  vector(name: string): Tensor | undefined {
    return this.#weights.vector(name);
  }

  // W = base + Σ e^offset · plane, so the slope of an offset is the sum over its block of plane · dL/dW.
  matrixGradient(name: string, x: Tensor, dy: Tensor): void {
    const g = this.#g;
    const planes = this.#weights.planes.get(name) ?? [];
    if (!planes.some(({ scales }) => scales)) return;
    const padded = planes[0]!.tensor.extents[0];
    // The codes that fill up a row meet the zeros appended to x. All planes of a matrix have one dtype.
    const dw = product(g, transpose(g, g.padRows(x, padded)), transpose(g, dy)); // [padded, out]
    planes.forEach(({ scales, tensor }, index) => {
      if (!scales) return;
      const { blockSize } = dtypes[tensor.dtype];
      const slopes = this.#blockSums(g.mul(dw, this.#plane(name, index)), blockSize);
      const firstBlock = ((this.#window?.first ?? 0) * padded) / blockSize;
      this.#collect(slopes, (values) => {
        for (let i = 0; i < values.length; i++) scales.gradient[firstBlock + i]! += values[i]!;
      });
    });
  }

  /** As {@link matrixGradient} of rows that were taken by `numbers`: dy `[in, n]` is the gradient of what {@link rows} gave. */
  rowsGradient(name: string, numbers: { tensor: Tensor; values: Int32Array }, dy: Tensor): void {
    const g = this.#g;
    for (const { scales, tensor } of this.#weights.planes.get(name) ?? []) {
      if (!scales) continue;
      const { blockSize } = dtypes[tensor.dtype];
      const rowBlocks = tensor.extents[0] / blockSize;
      const slopes = this.#blockSums(
        g.mul(g.getRows(tensor, numbers.tensor), g.padRows(dy, tensor.extents[0])),
        blockSize,
      );
      this.#collect(slopes, (values) => {
        for (let i = 0; i < values.length; i++) {
          const row = numbers.values[Math.floor(i / rowBlocks)]!;
          scales.gradient[row * rowBlocks + (i % rowBlocks)]! += values[i]!;
        }
      });
    }
  }

  vectorGradient(name: string, gradient: Tensor): void {
    const vector = this.#weights.trainedVectors.get(name);
    if (!vector) return;
    this.#collect(gradient, (values) => {
      for (let i = 0; i < values.length; i++) vector.gradient[i]! += vector.unit * values[i]!;
    });
  }

  /** Adds this graph's gradients to the trainables'. */
  collect(): void {
    for (const collector of this.#collectors) collector();
  }

  #collect(tensor: Tensor, add: (values: Float32Array) => void): void {
    this.#g.output(tensor);
    this.#collectors.push(() => add(tensor.values()));
  }

  #plane(name: string, index: number): Tensor {
    return this.#once(`${name} ${index}`, () => this.#expand(this.#weights.planes.get(name)![index]!.tensor));
  }

  #expand(matrix: Tensor): Tensor {
    const window = this.#window;
    return expand(this.#g, window ? this.#g.rows(matrix, window.first, window.count) : matrix, this.#rowNumbers);
  }

  /** `base` `[in, rows]` plus the first columns of its planes `[in filled up, rows]`. */
  #sum(name: string, base: Tensor, planeAt: (index: number) => Tensor): Tensor {
    const g = this.#g;
    const [columns, rows] = base.extents;
    return (this.#weights.planes.get(name) ?? []).reduce((sum, _, index) => {
      const plane = planeAt(index);
      return g.add(sum, plane.extents[0] === columns ? plane : g.view(plane, [columns, rows], { offset: 0 }));
    }, base);
  }

  #blockSums(products: Tensor, blockSize: number): Tensor {
    return sumRows(this.#g, this.#g.reshape(products, [blockSize, products.elements / blockSize]));
  }

  #once(key: string, build: () => Tensor): Tensor {
    const known = this.#memo.get(key) ?? build();
    this.#memo.set(key, known);
    return known;
  }
}
