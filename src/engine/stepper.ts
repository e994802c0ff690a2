import type { DType, SampledToken, Sequence, StepPlan } from "../core/index.js";
import {
  attendsByRow,
  type Device,
  type Draw,
  drawRows,
  Graph,
  GraphMemory,
  type PackedDraws,
  packDraws,
  readDraws,
  type Tensor,
} from "../ggml/index.js";
import {
  type DecoderState,
  decode,
  type GroupedAttention,
  type MergedPart,
  mergeableClasses,
  type StepInputs,
  type StepOutputs,
  type VariantRows,
} from "../model/index.js";
import {
  type AttentionLayout,
  type Batch,
  layoutBatch,
  type MergedLayout,
  type ResidentVariant,
  type RunLayout,
  scatterOf,
  shapeKey,
} from "./batch.js";
import { drawOf, sampledToken, sampleToken } from "./sampler.js";

/** Makes the next input tensor of a step, or finds it and writes its values. */
type Bind = (name: string, dtype: DType, shape: readonly number[], values: ArrayBufferView) => Tensor;

/** Where a variant lies, if it is resident. */
type Resident = (variant: string) => ResidentVariant | undefined;

interface BuiltStep {
  readonly key: string;
  readonly graph: Graph;
  readonly outputs: StepOutputs;
  /** Where the device has kernels for it: a token for each row that has a draw. */
  readonly drawn: Tensor | undefined;
  readonly inputs: readonly Tensor[];
}

/** Weights and operations of a layer, of one run of parts in a layer, and around the layers; the graph says if that is ever too few. */
const tensorsPerLayer = 256;
const tensorsPerRun = 128;
const tensorsAround = 1024;

/**
 * Computes steps: plan → arrays → graph → logits → tokens. A step whose shape equals the one before reuses its graph, which in
 * steady decoding is nearly all of them.
 */
export class Stepper implements Disposable {
  readonly #device: Device;
  readonly #state: DecoderState;
  readonly #mergeable: ReadonlyMap<string, MergedPart>;
  readonly #memory: GraphMemory;
  #built: BuiltStep | undefined;
  #computeMs = 0;
  #logits = new Float32Array(0);

  constructor(device: Device, state: DecoderState) {
    this.#device = device;
    this.#state = state;
    this.#mergeable = mergeableClasses(state.weights, state.pools);
    this.#memory = new GraphMemory(device);
  }

  /** What the device took for all passes so far. */
  get computeMs(): number {
    return this.#computeMs;
  }

  /**
   * Claims the memory that this plan takes and computes nothing: a device that has too little says so now, and not once the first
   * step of that size comes.
   *
   * @throws {NativeError} when memory is short
   */
  reserve(plan: StepPlan, resident: Resident): void {
    const batch = this.#layout(plan, resident);
    this.#graphOf(batch, packDraws(this.#drawsOf(batch, resident))).graph.allocate(this.#memory);
  }

  /** Bytes of what steps need while they are computed, as far as they have grown. */
  get byteLength(): number {
    return this.#memory.byteLength + this.#logits.byteLength;
  }

  /**
   * One pass over the plan's spans, after its copies, and a token for each that reaches its sequence's end. Sequences are not changed: the
   * scheduler's `commit` does that. Spans that are scored are for {@link logits}.
   *
   * @param resident where a variant lies; every variant of the plan must
   * @throws {NativeError} when the device fails
   */
  step(plan: StepPlan, resident: Resident): SampledToken[] {
    const batch = this.#layout(plan, resident);
    const draws = this.#drawsOf(batch, resident);
    const { outputs, drawn } = this.#compute(plan, batch, draws);
    const needsLogits = !drawn || draws.some((draw) => draw.likeliest !== null);
    const logits = needsLogits ? this.#logitsOf(batch, outputs, resident) : [];
    const words = drawn && readDraws(drawn, draws);
    return batch.outputs.map(({ sequence }, row) =>
      words ? sampledToken(sequence, words[row]!, logits[row]) : sampleToken(logits[row]!, sequence),
    );
  }

  /** The logits behind `step`, one array over the variant's vocabulary for each of `batch.outputs`; good until the next pass. */
  logits(plan: StepPlan, resident: Resident): { batch: Batch; logits: Float32Array[] } {
    const batch = this.#layout(plan, resident);
    const { outputs } = this.#compute(plan, batch, []);
    return { batch, logits: this.#logitsOf(batch, outputs, resident) };
  }

  [Symbol.dispose](): void {
    this.#built?.graph[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }

  /** How the graph draws the tokens; none where it does not. */
  #drawsOf(batch: Batch, resident: Resident): Draw[] {
    return this.#device.kernels
      ? batch.outputs.map(({ sequence }) => drawOf(sequence, this.#wordsOf(sequence, resident)))
      : [];
  }

  /** Rows of the vocabulary that a sequence's tokens are of. */
  #wordsOf({ variant }: Sequence, resident: Resident): number {
    const { vocabSize } = this.#state.weights.config;
    return variant === null ? vocabSize : (resident(variant)?.vocabSize ?? vocabSize);
  }

  #logitsOf(batch: Batch, outputs: StepOutputs, resident: Resident): Float32Array[] {
    const { vocabSize } = this.#state.weights.config;
    const extraRows = this.#state.pools?.layout.extraRows ?? 0;
    const values = this.#valuesOf(outputs.logits);
    const extra = outputs.extraLogits && readInto(new Float32Array(outputs.extraLogits.elements), outputs.extraLogits);
    return batch.outputs.map(({ sequence }, row) => {
      const words = this.#wordsOf(sequence, resident);
      // What the base has beyond a variant's vocabulary is nothing that the variant says.
      const own = values.subarray(row * vocabSize, row * vocabSize + Math.min(words, vocabSize));
      const more = words - vocabSize;
      return extra && more > 0 ? joined(own, extra.subarray(row * extraRows, row * extraRows + more)) : own;
    });
  }

  /** Logits where the device left them, if the host can read there; they are megabytes. */
  #valuesOf(logits: Tensor): Float32Array {
    const { elements, byteLength } = logits;
    if (this.#device.kind === "cpu") {
      const bytes = logits.hostBytes(0, byteLength);
      return new Float32Array(bytes.buffer, bytes.byteOffset, elements);
    }
    if (this.#logits.length < elements) this.#logits = new Float32Array(elements);
    return readInto(this.#logits.subarray(0, elements), logits);
  }

  #layout(plan: StepPlan, resident: Resident): Batch {
    return layoutBatch(plan, {
      config: this.#state.weights.config,
      contextLength: this.#state.cache.contextLength,
      extraRows: this.#state.pools?.layout.extraRows ?? 0,
      attendsByRow: attendsByRow(this.#device, this.#state.weights.config.headDim),
      mergeable: this.#mergeable,
      resident,
    });
  }

  /** Copies what the plan wants copied, and runs the pass. */
  #compute(plan: StepPlan, batch: Batch, draws: readonly Draw[]): BuiltStep {
    for (const { from, to, cells } of plan.copies ?? []) this.#state.cache.copy(from, to, cells);
    const packed = packDraws(Array.from(batch.outputRows, (_, row) => draws[row]));
    const built = this.#graphOf(batch, packed);
    const { graph, inputs } = built;
    graph.allocate(this.#memory);
    const known = inputs[Symbol.iterator]();
    const write: Bind = (_name, _dtype, _shape, values) => {
      const tensor: Tensor = known.next().value!;
      tensor.write(values);
      return tensor;
    };
    stepInputs(batch, this.#state, write);
    if (this.#device.kernels) drawInputs(packed, write);
    const startedMs = performance.now();
    graph.compute();
    this.#computeMs += performance.now() - startedMs;
    return built;
  }

  /** The last graph if it is good for this batch, or a new one in its place. */
  #graphOf(batch: Batch, packed: PackedDraws): BuiltStep {
    const key = `${shapeKey(batch)}|${packed.adjustments.length}`;
    if (this.#built?.key === key) return this.#built;
    this.#built?.graph[Symbol.dispose]();
    this.#built = undefined;
    const runs = batch.merged.length + batch.runs.length + batch.outputRuns.length;
    const perLayer = tensorsPerLayer + tensorsPerRun * runs;
    const tensorsMax = perLayer * this.#state.weights.config.layers + tensorsAround;
    const graph = new Graph(this.#device, { tensorsMax });
    const inputs: Tensor[] = [];
    const bind: Bind = (name, dtype, shape) => {
      inputs.push(graph.input(name, dtype, shape));
      return inputs.at(-1)!;
    };
    const outputs = decode(graph, this.#state, stepInputs(batch, this.#state, bind));
    graph.output(outputs.logits);
    if (outputs.extraLogits) graph.output(outputs.extraLogits);
    const { kernels, threads } = this.#device;
    const drawn = kernels && drawRows(graph, kernels, { ...outputs, ...drawInputs(packed, bind), threads });
    if (drawn) graph.output(drawn);
    this.#built = { key, graph, outputs, drawn, inputs };
    return this.#built;
  }
}

/** The batch as tensors. Asks `bind` in an order that depends on the batch's shape key alone. */
function stepInputs(batch: Batch, state: DecoderState, bind: Bind): StepInputs {
  const ints = (name: string, values: Int32Array) => bind(name, "i32", [values.length], values);
  const longs = (name: string, values: BigInt64Array) => bind(name, "i64", [values.length], values);
  const variants = (
    name: string,
    merged: readonly MergedLayout[],
    runs: readonly RunLayout[],
    vectorRows: Int32Array | undefined,
  ): VariantRows => ({
    merged: merged.map(({ firstRow, rows, slots }) => ({
      rows,
      classIds: [...slots.keys()],
      place: ints(`${name}.merged`, Int32Array.of(firstRow, rows, ...slots.values())),
    })),
    runs: runs.map(({ classId, firstRow, slots }) => ({
      classId,
      firstRow,
      rows: slots.length,
      slots: ints(`${name}.slots`, slots),
    })),
    vectorRows: vectorRows && ints(`${name}.vectors`, vectorRows),
  });
  const { vocabSize } = state.weights.config;
  return {
    tokens: ints("tokens", batch.tokens),
    positions: ints("positions", batch.positions),
    cells: longs("cells", batch.cells),
    attention: batch.attention && groupedAttention(batch.attention, bind),
    variants: variants("rows", batch.merged, batch.runs, batch.vectorRows),
    embeddingRows: batch.runs.map(({ firstRow, slots }) =>
      ints(
        "embedding",
        slots.map((slot, i) => slot * vocabSize + batch.tokens[firstRow + i]!),
      ),
    ),
    extraTokens: batch.extraTokens && {
      from: ints("extra.from", batch.extraTokens.from),
      to: longs("extra.to", batch.extraTokens.to),
    },
    outputRows: ints("outputs", batch.outputRows),
    // Rows that are read are never merged in the layers after them: so few are not worth it.
    outputVariants: variants("outputs", [], batch.outputRuns, batch.outputVectorRows),
    extraOutput: batch.extraOutput && ints("extra.outputs", batch.extraOutput),
  };
}

/** How each row of the output is drawn. */
function drawInputs({ draws, adjustments }: PackedDraws, bind: Bind): { draws: Tensor; adjustments: Tensor } {
  return {
    draws: bind("draws", "i32", [draws.length], draws),
    adjustments: bind("adjustments", "i32", [adjustments.length], adjustments),
  };
}

function groupedAttention({ groups, gather }: AttentionLayout, bind: Bind): GroupedAttention {
  const ints = (name: string, values: Int32Array) => bind(name, "i32", [values.length], values);
  return {
    groups: groups.map(({ mask, ...group }) => ({
      ...group,
      mask: bind("mask", "f16", [group.cells, group.rows, 1, group.sequences], mask),
    })),
    order: gather && { gather: ints("gather", gather), scatter: ints("scatter", scatterOf(gather)) },
  };
}

function readInto<Values extends ArrayBufferView>(values: Values, tensor: Tensor): Values {
  tensor.read(values);
  return values;
}

function joined(a: Float32Array, b: Float32Array): Float32Array {
  const all = new Float32Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}
