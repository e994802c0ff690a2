import {
  type DType,
  dtypes,
  elementCount,
  type ModelConfig,
  type Parameter,
  parametersOf,
  tensorBytes,
} from "../core/index.js";
import { type Checkpoint, readTensor } from "../formats/index.js";
import { Arena, BaseMatrix, type Device, fromFloat32, type Tensor, toFloat32 } from "../ggml/index.js";
import { assert } from "../util/index.js";
import { ropeFactors } from "./rope.js";

/**
 * How the base's matrices are held. "auto" is the fastest form that is lossless enough, by measured KL: a quantised GGUF as it is
 * stored, q8_0 for large checkpoints, and 16 bits for small ones, which lose more by rounding and have little to gain.
 */
export type BaseDType =
  | "auto"
  | "f32"
  | "f16"
  | "bf16"
  | "q8_0"
  | "q4_0"
  | "q4_1"
  | "q5_0"
  | "q5_1"
  | "q4_k"
  | "q5_k"
  | "q6_k";

export interface LoadProgress {
  readonly bytesDone: number;
  readonly bytesTotal: number;
}

/**
 * The base model's parameters on a device, by Hugging Face's names. Norms and biases are f32. Matrices in 8 and 16 bits are interleaved where the
 * device has kernels: what they are multiplied by, and looked up in, comes from {@link Weights.matrix}.
 */
export class Weights implements Disposable {
  readonly config: ModelConfig;
  readonly byteLength: number;
  /** Frequency divisors of rope scaling; undefined when positions are not scaled by frequency. */
  readonly ropeFactors: Tensor | undefined;
  readonly #arenas: readonly Arena[];
  readonly #interleaved: ReadonlySet<string>;

  private constructor(config: ModelConfig, arenas: readonly Arena[], interleaved: ReadonlySet<string>) {
    this.config = config;
    this.#arenas = arenas;
    this.#interleaved = interleaved;
    this.byteLength = arenas.reduce((sum, arena) => sum + arena.byteLength, 0);
    this.ropeFactors = this.find("rope_factors");
  }

  /**
   * Reads a checkpoint onto a device, converting as `dtype` asks. Holds one tensor in host memory at a time, and none where the
   * file's bytes are what the device wants; where matrices are interleaved, one more, as that goes on while the next one is read. A
   * failure half-way frees everything.
   */
  static async load(
    device: Device,
    checkpoint: Checkpoint,
    options: { dtype?: BaseDType; onProgress?: (progress: LoadProgress) => void; signal?: AbortSignal } = {},
  ): Promise<Weights> {
    const { config } = checkpoint;
    const parameters = parametersOf(config);
    const modelParameters = parameters.reduce((sum, { shape }) => sum + elementCount(shape), 0);
    const dtypeOf = (p: Parameter) =>
      storageDType(p, { storedAs: stored(checkpoint, p).dtype, asked: options.dtype ?? "auto", modelParameters });
    const target = new Map(parameters.map((p) => [p.name, dtypeOf(p)]));
    const spec = (p: Parameter) => ({ name: p.name, dtype: target.get(p.name)!, shape: [...p.shape].reverse() });
    const interleaved = new Set(
      parameters
        .filter(
          ({ name, kind, shape }) =>
            kind !== "vector" && BaseMatrix.canInterleave(device, target.get(name)!, [shape[1]!, shape[0]!]),
        )
        .map(({ name }) => name),
    );
    const repacks = (p: Parameter) => p.kind === "linear" && target.get(p.name) === "q4_0" && p.shape[0]! % 8 === 0;

    const arenas: Arena[] = [];
    let interleaving = Promise.resolve();
    try {
      const repacked = device.repackBufferType === undefined ? [] : parameters.filter(repacks);
      const factors = ropeFactors(config);
      const plain = parameters.filter((p) => !repacked.includes(p)).map(spec);
      if (factors) plain.push({ name: "rope_factors", dtype: "f32", shape: [factors.length] });
      arenas.push(new Arena(device, plain, { isReadWhole: true }));
      if (repacked.length > 0) arenas.push(new Arena(device, repacked.map(spec), { repack: true }));
      if (factors) arenas[0]!.get("rope_factors").write(factors);

      const bytesTotal = parameters.reduce((sum, p) => sum + stored(checkpoint, p).byteLength, 0);
      let bytesDone = 0;
      for (const parameter of parameters) {
        options.signal?.throwIfAborted();
        const arena = arenas.find((candidate) => candidate.tensors.has(parameter.name))!;
        if (interleaved.has(parameter.name)) {
          const bytes = await readTensor(checkpoint, parameter.name);
          await interleaving;
          const matrix = new BaseMatrix(arena.get(parameter.name), { isInterleaved: true });
          interleaving = matrix.writeInterleaved(device, stored(checkpoint, parameter).dtype, bytes);
          interleaving.catch(() => {}); // heard of where it is awaited
        } else await readInto(checkpoint, parameter.name, arena);
        bytesDone += stored(checkpoint, parameter).byteLength;
        options.onProgress?.({ bytesDone, bytesTotal });
      }
      await interleaving;
      return new Weights(config, arenas, interleaved);
    } catch (error) {
      await interleaving.catch(() => {}); // it writes to what is freed next
      for (const arena of arenas) arena[Symbol.dispose]();
      throw error;
    }
  }

  get(name: string): Tensor {
    const tensor = this.find(name);
    assert(tensor, `the model has no parameter ${name}`);
    return tensor;
  }

  find(name: string): Tensor | undefined {
    return this.#arenas.find((arena) => arena.tensors.has(name))?.get(name);
  }

  matrix(name: string): BaseMatrix {
    return new BaseMatrix(this.get(name), { isInterleaved: this.#interleaved.has(name) });
  }

  [Symbol.dispose](): void {
    for (const arena of this.#arenas) arena[Symbol.dispose]();
  }
}

function stored(checkpoint: Checkpoint, parameter: Parameter) {
  const tensor = checkpoint.tensors.get(parameter.name);
  assert(tensor, `an opened checkpoint lacks ${parameter.name}`);
  return tensor;
}

/** Below this many parameters, eight bits cost more accuracy than their speed is worth (README, "Precision of the base"). */
const smallModelParameters = 1e9;

/** Bytes that a checkpoint's parameters will take on a device. */
export function weightBytes(checkpoint: Checkpoint, dtype: BaseDType): number {
  const parameters = parametersOf(checkpoint.config);
  const modelParameters = parameters.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  return parameters.reduce((sum, p) => {
    const held = storageDType(p, { storedAs: stored(checkpoint, p).dtype, asked: dtype, modelParameters });
    return sum + tensorBytes(held, p.shape);
  }, 0);
}

/** Which dtype a parameter gets on the device. Rows that do not fill the asked type's blocks stay in 16 bits. */
export function storageDType(
  parameter: Parameter,
  context: { storedAs: DType; asked: BaseDType; modelParameters: number },
): DType {
  const { storedAs, asked, modelParameters } = context;
  if (parameter.kind === "vector") return "f32";
  const halves = storedAs === "bf16" ? "bf16" : "f16";
  const isFloat = storedAs === "f32" || storedAs === "f16" || storedAs === "bf16";
  if (asked === "auto" && !isFloat) return storedAs;
  if (asked === "auto" && modelParameters < smallModelParameters) return halves;
  const wanted = asked === "auto" ? "q8_0" : asked;
  // Four bits on the output head cost more than they save: it is where errors turn into tokens.
  const dtype = wanted.startsWith("q4") && parameter.kind !== "linear" ? "q8_0" : wanted;
  return parameter.shape.at(-1)! % dtypes[dtype].blockSize === 0 ? dtype : halves;
}

async function readInto(checkpoint: Checkpoint, name: string, arena: Arena): Promise<void> {
  const tensor = arena.get(name);
  const { dtype, byteLength, shape } = checkpoint.tensors.get(name)!;
  if (dtype === tensor.dtype && arena.isHost) return checkpoint.read(name, tensor.hostBytes(0, byteLength));
  const bytes = new Uint8Array(byteLength);
  await checkpoint.read(name, bytes);
  if (dtype === tensor.dtype) return tensor.write(bytes);
  const values = toFloat32(dtype, bytes, tensor.elements);
  tensor.write(tensor.dtype === "f32" ? values : fromFloat32(tensor.dtype, values, shape.at(-1)!));
}
