import type { DType } from "../core/index.js";
import type { Device } from "./device.js";
import { Graph } from "./graph.js";
import type { GraphMemory } from "./graph-memory.js";
import type { ShapeLike, Tensor } from "./tensor.js";

/** Makes an input of a graph; its bytes are written before the graph runs. */
export type BindInput = (dtype: DType, shape: ShapeLike, values: ArrayBufferView) => Tensor;

/** Room for the operations of a few layers' worth of arithmetic. */
const tensorsMax = 256;

/**
 * Builds a graph, runs it once, and returns the values of its result, an f32 tensor without gaps. For arithmetic on numbers that the
 * host has and wants back; a pass that repeats keeps its {@link Graph}.
 *
 * @param build → the result; it must not be an input itself
 */
export function computeOnce(
  device: Device,
  memory: GraphMemory,
  build: (g: Graph, input: BindInput) => Tensor,
): Float32Array {
  using graph = new Graph(device, { tensorsMax });
  const writes: (() => void)[] = [];
  const result = build(graph, (dtype, shape, values) => {
    const tensor = graph.input(`input ${writes.length}`, dtype, shape);
    writes.push(() => tensor.write(values));
    return tensor;
  });
  graph.output(result);
  graph.allocate(memory);
  for (const write of writes) write();
  graph.compute();
  const values = new Float32Array(result.elements);
  result.read(values);
  return values;
}
