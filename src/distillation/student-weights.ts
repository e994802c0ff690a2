import { parametersOf } from "../core/index.js";
import { type Checkpoint, type FloatDType, paddedCols } from "../formats/index.js";
import { Arena, type Graph, type Tensor } from "../ggml/index.js";
import { readValues } from "../model/index.js";
import { StoredWeights } from "./stored-weights.js";
import type { Student, StudentPlane } from "./student.js";
import { StudentGraph } from "./student-graph.js";
import { hasScales, PlaneScales, type Trainable, VectorValues } from "./trainable.js";
import type { Workspace } from "./workspace.js";

/** A plane on the device; one without scales is not trained. */
export interface ResidentPlane {
  readonly plane: StudentPlane;
  /** `[columns filled up to whole blocks, rows]` */
  readonly tensor: Tensor;
  readonly scales: PlaneScales | undefined;
}

/** The student on a device: the base as it is stored, and beside it the planes and vectors that are trained. */
export class StudentWeights implements Disposable {
  readonly base: StoredWeights;
  /** By matrix. */
  readonly planes: ReadonlyMap<string, readonly ResidentPlane[]>;
  /** Those of the student's vectors; the base's are not trained. */
  readonly trainedVectors: ReadonlyMap<string, VectorValues>;
  /** Planes and all vectors. */
  readonly #arena: Arena;

  private constructor(base: StoredWeights, arena: Arena, student: Student, dtypeOf: (name: string) => FloatDType) {
    this.base = base;
    this.#arena = arena;
    this.planes = new Map(
      [...student.matrices].map(([name, { planes }]) => [
        name,
        planes.map((plane, index) => {
          const tensor = arena.get(planeName(name, index));
          return { plane, tensor, scales: hasScales(plane) ? new PlaneScales(plane, tensor) : undefined };
        }),
      ]),
    );
    this.trainedVectors = new Map(
      [...student.vectors].map(([name, values]) => [name, new VectorValues(values, dtypeOf(name), arena.get(name))]),
    );
  }

  /** @param options.dtypeOf what a vector will be stored in */
  static async load(
    workspace: Workspace,
    options: { base: Checkpoint; student: Student; dtypeOf: (name: string) => FloatDType },
  ): Promise<StudentWeights> {
    const { base, student, dtypeOf } = options;
    const parameters = parametersOf(base.config);
    const planes = parameters.flatMap(({ name, shape: [rows, cols] }) =>
      (student.matrices.get(name)?.planes ?? []).map(({ dtype, bytes }, index) => ({
        spec: { name: planeName(name, index), dtype, shape: [paddedCols(dtype, cols!), rows!] },
        bytes,
      })),
    );
    const vectors = parameters.filter(({ kind }) => kind === "vector");
    const arena = new Arena(workspace.device, [
      ...planes.map(({ spec }) => spec),
      ...vectors.map(({ name, shape }) => ({ name, dtype: "f32" as const, shape })),
    ]);
    for (const { spec, bytes } of planes) arena.get(spec.name).write(bytes);
    for (const { name } of vectors) arena.get(name).write(student.vectors.get(name) ?? (await readValues(base, name)));
    const matrices = await StoredWeights.load(workspace, base, ({ kind }) => kind !== "vector");
    return new StudentWeights(matrices, arena, student, dtypeOf);
  }

  get trainables(): Trainable[] {
    const scales = [...this.planes.values()].flat().flatMap((plane) => plane.scales ?? []);
    return [...scales, ...this.trainedVectors.values()];
  }

  /** A copy of the student with its present scales and vectors. */
  get student(): Student {
    const present = ({ plane, scales }: ResidentPlane) => (scales ? { ...plane, bytes: scales.bytes.slice() } : plane);
    return {
      matrices: new Map([...this.planes].map(([name, planes]) => [name, { planes: planes.map(present) }])),
      vectors: new Map([...this.trainedVectors].map(([name, { values }]) => [name, values])),
    };
  }

  vector(name: string): Tensor | undefined {
    return this.#arena.tensors.get(name);
  }

  /** The student's parameters in a graph, and where their gradients go. */
  in(g: Graph, rowNumbers: Tensor): StudentGraph {
    return new StudentGraph(g, this, rowNumbers);
  }

  [Symbol.dispose](): void {
    this.base[Symbol.dispose]();
    this.#arena[Symbol.dispose]();
  }
}

const planeName = (name: string, index: number) => `${name}.plane${index + 1}`;
