import { elementCount } from "../core/index.js";
import { type Checkpoint, readTensor } from "../formats/index.js";
import { toFloat32 } from "../ggml/index.js";

/** A checkpoint's tensor in single precision, row-major. */
export async function readValues(checkpoint: Checkpoint, name: string): Promise<Float32Array> {
  const bytes = await readTensor(checkpoint, name);
  const { dtype, shape } = checkpoint.tensors.get(name)!;
  return toFloat32(dtype, bytes, elementCount(shape));
}
