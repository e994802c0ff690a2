import type { DType } from "../core/index.js";
import { Device, Graph, GraphMemory, type ShapeLike, type Tensor } from "../ggml/index.js";

/** Room for everything that one block's way back asks for: some 150 operations, and a few more for every plane. */
const TENSORS_MAX = 1024;

/** Gives an input its values, which are written when the graph has memory. */
export type Feed = (dtype: DType, shape: ShapeLike, values: ArrayBufferView) => Tensor;

/** A device on which graphs are built, run once and given back, one after the other in the same memory. */
export class Workspace implements Disposable {
  readonly device: Device;
  readonly #memory: GraphMemory;

  constructor(threads: number) {
    this.device = Device.open({ threads });
    this.#memory = new GraphMemory(this.device);
  }

  /** @param build returns what reads the results, which is called once they are there, and whose answer is the answer */
  compute<T>(build: (graph: Graph, feed: Feed) => () => T): T {
    using graph = new Graph(this.device, { tensorsMax: TENSORS_MAX });
    const writes: (() => void)[] = [];
    const results = build(graph, (dtype, shape, values) => {
      const tensor = graph.input(`input ${writes.length}`, dtype, shape);
      writes.push(() => tensor.write(values));
      return tensor;
    });
    graph.allocate(this.#memory);
    for (const write of writes) write();
    graph.compute();
    return results();
  }

  [Symbol.dispose](): void {
    this.device[Symbol.dispose]();
  }
}

/** An f32 tensor's values. */
export function valuesOf(tensor: Tensor): Float32Array {
  const values = new Float32Array(tensor.elements);
  tensor.read(values);
  return values;
}
