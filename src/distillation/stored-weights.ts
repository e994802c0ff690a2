import { type Parameter, parametersOf } from "../core/index.js";
import { type Checkpoint, readTensor } from "../formats/index.js";
import { Arena, type Graph, type Tensor } from "../ggml/index.js";
import { readValues } from "../model/index.js";
import { assert } from "../util/index.js";
import type { Parameters } from "./block.js";
import type { Workspace } from "./workspace.js";

/** Whole rows of a matrix, one after the other. */
export interface RowWindow {
  readonly first: number;
  readonly count: number;
}

/** Parameters of a checkpoint on a device, exact: matrices in the dtype they are stored in, vectors in f32. */
export class StoredWeights implements Disposable {
  readonly #arena: Arena;

  private constructor(arena: Arena) {
    this.#arena = arena;
  }

  /** Reads those parameters that `wanted` says. */
  static async load(
    workspace: Workspace,
    checkpoint: Checkpoint,
    wanted: (parameter: Parameter) => boolean,
  ): Promise<StoredWeights> {
    const parameters = parametersOf(checkpoint.config).filter(wanted);
    const specs = parameters.map(({ name, shape, kind }) => ({
      name,
      dtype: kind === "vector" ? ("f32" as const) : checkpoint.tensors.get(name)!.dtype,
      shape: [...shape].reverse(),
    }));
    const arena = new Arena(workspace.device, specs);
    for (const { name, kind } of parameters) {
      if (kind === "vector") arena.get(name).write(await readValues(checkpoint, name));
      else arena.get(name).write(await readTensor(checkpoint, name));
    }
    return new StoredWeights(arena);
  }

  /** As stored: a matrix `[in, out]`, a vector `[n]` f32. */
  get(name: string): Tensor {
    return this.#arena.get(name);
  }

  find(name: string): Tensor | undefined {
    return this.#arena.tensors.get(name);
  }

  /** These parameters in a graph. */
  in(g: Graph, rowNumbers: Tensor): Parameters {
    const matrices = new Map<string, Tensor>();
    return {
      matrix: (name) => {
        const known = matrices.get(name) ?? expand(g, this.get(name), rowNumbers);
        matrices.set(name, known);
        return known;
      },
      vector: (name) => this.find(name),
    };
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }
}

/**
 * A matrix of any dtype in f32, whole rows.
 *
 * @param rowNumbers 0, 1, 2, …, at least as many as it has rows: i32
 */
export function expand(g: Graph, matrix: Tensor, rowNumbers: Tensor): Tensor {
  if (matrix.dtype === "f32") return matrix;
  const rows = matrix.extents[1];
  assert(rows <= rowNumbers.elements, `${matrix} has more rows than ${rowNumbers}`);
  return g.getRows(matrix, g.view(rowNumbers, [rows], { offset: 0 }));
}
