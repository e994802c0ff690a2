import { type BindInput, Device, type Graph, GraphMemory, runOnce } from "../ggml/index.js";

/** Room for everything that one block's way back asks for: some 150 operations, and a few more for every plane. */
const TENSORS_MAX = 1024;

/** A device on which graphs are built, run once and given back, one after the other in the same memory. */
export class Workspace implements Disposable {
  readonly device: Device;
  readonly #memory: GraphMemory;

  constructor(threads: number) {
    this.device = Device.open({ threads });
    this.#memory = new GraphMemory(this.device);
  }

  /** @param build returns what reads the results, which is called once they are there, and whose answer is the answer */
  compute<T>(build: (graph: Graph, feed: BindInput) => () => T): T {
    return runOnce({ device: this.device, memory: this.#memory, tensorsMax: TENSORS_MAX }, build);
  }

  [Symbol.dispose](): void {
    this.device[Symbol.dispose]();
  }
}
