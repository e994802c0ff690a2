export { Arena, type TensorSpec } from "./arena.js";
export { type BindInput, computeOnce, runOnce } from "./compute-once.js";
export { Device } from "./device.js";
export * as gradients from "./gradients.js";
export { Graph, GraphError, type Rope } from "./graph.js";
export { GraphMemory } from "./graph-memory.js";
export { type DeviceKind, isInstalled } from "./library.js";
export { fromFloat32, toFloat32 } from "./quantize.js";
export { type ShapeLike, Tensor } from "./tensor.js";
