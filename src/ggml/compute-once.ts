import type { DType } from "../core/index.js";
import type { Device } from "./device.js";
import { Graph } from "./graph.js";
import type { GraphMemory } from "./graph-memory.js";
import type { ShapeLike, Tensor } from "./tensor.js";

/** Makes an input of a graph; its bytes are written before the graph runs. */
export type BindInput = (dtype: DType, shape: ShapeLike, values: ArrayBufferView) => Tensor;

/** Where a graph is computed, in memory that it shares with the graphs before and after it. */
export interface GraphPlace {
  readonly device: Device;
  readonly memory: GraphMemory;
  /** Tensors that a graph may have. Default 256: a few layers' worth of arithmetic. */
  readonly tensorsMax?: number;
}

/**
 * Builds a graph, runs it once and gives it back. A pass that repeats keeps its {@link Graph}.
 *
 * @param build returns what reads the results, which is called once they are there, and whose answer is the answer
 */
export function runOnce<T>(
  { device, memory, tensorsMax = 256 }: GraphPlace,
  build: (g: Graph, input: BindInput) => () => T,
): T {
  using graph = new Graph(device, { tensorsMax });
  const writes: (() => void)[] = [];
  const readResults = build(graph, (dtype, shape, values) => {
    const tensor = graph.input(`input ${writes.length}`, dtype, shape);
    writes.push(() => tensor.write(values));
    return tensor;
  });
  graph.allocate(memory);
  for (const write of writes) write();
  graph.compute();
  return readResults();
}

/**
 * {@link runOnce} for one result, an f32 tensor without gaps, of which the values are the answer.
 *
 * @param build → the result; it must not be an input itself
 */
export function computeOnce(place: GraphPlace, build: (g: Graph, input: BindInput) => Tensor): Float32Array {
  return runOnce(place, (g, input) => {
    const result = build(g, input);
    g.output(result);
    return () => result.values();
  });
}
