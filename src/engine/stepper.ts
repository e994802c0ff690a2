import type { DType, SampledToken, StepPlan } from "../core/index.js";
import { type Device, Graph, GraphMemory, type Tensor } from "../ggml/index.js";
import { type DecoderState, decode, type StepInputs, type StepOutputs, type VariantRows } from "../model/index.js";
import { type Batch, layoutBatch, type ResidentVariant, type RunLayout, scatterOf, shapeKey } from "./batch.js";
import { sampleToken } from "./sampler.js";

/** Makes or finds the next input tensor of a step, and notes what is to be written to it. */
type Bind = (name: string, dtype: DType, shape: readonly number[], values: ArrayBufferView) => Tensor;

interface BuiltStep {
  readonly key: string;
  readonly graph: Graph;
  readonly outputs: StepOutputs;
  readonly inputs: readonly Tensor[];
}

/** Weights and operations of a layer with every kind of run, and those around the layers; the graph says if that is ever too few. */
const tensorsPerLayer = 512;
const tensorsAround = 1024;

/**
 * Computes steps: plan → arrays → graph → logits → tokens. A step whose shape equals the one before reuses its graph, which in
 * steady decoding is nearly all of them.
 */
export class Stepper implements Disposable {
  readonly #device: Device;
  readonly #state: DecoderState;
  readonly #memory: GraphMemory;
  #built: BuiltStep | undefined;

  constructor(device: Device, state: DecoderState) {
    this.#device = device;
    this.#state = state;
    this.#memory = new GraphMemory(device);
  }

  /**
   * One pass over the plan's spans, and a token for each that reaches its sequence's end. Sequences are not changed: the
   * scheduler's `commit` does that.
   *
   * @param resident where a variant lies; every variant of the plan must
   * @throws {NativeError} when the device fails
   */
  step(plan: StepPlan, resident: (variant: string) => ResidentVariant | undefined): SampledToken[] {
    const { batch, logits } = this.logits(plan, resident);
    return batch.outputs.map(({ sequence }, row) => sampleToken(logits[row]!, sequence));
  }

  /** The logits behind `step`, one array over the variant's vocabulary for each of `batch.outputs`. */
  logits(
    plan: StepPlan,
    resident: (variant: string) => ResidentVariant | undefined,
  ): { batch: Batch; logits: Float32Array[] } {
    const { vocabSize } = this.#state.weights.config;
    const extraRows = this.#state.pools?.layout.extraRows ?? 0;
    const batch = layoutBatch(plan, {
      config: this.#state.weights.config,
      contextLength: this.#state.cache.contextLength,
      extraRows,
      resident,
    });
    const outputs = this.#compute(batch);
    const values = readAll(outputs.logits);
    const extra = outputs.extraLogits && readAll(outputs.extraLogits);
    const logits = batch.outputs.map(({ sequence }, row) => {
      const own = values.subarray(row * vocabSize, (row + 1) * vocabSize);
      const more = sequence.variant === null ? 0 : (resident(sequence.variant)?.extraRows ?? 0);
      return extra && more > 0 ? joined(own, extra.subarray(row * extraRows, row * extraRows + more)) : own;
    });
    return { batch, logits };
  }

  [Symbol.dispose](): void {
    this.#built?.graph[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }

  #compute(batch: Batch): StepOutputs {
    const key = shapeKey(batch);
    const writes: (() => void)[] = [];
    if (this.#built?.key === key) {
      const known = this.#built.inputs[Symbol.iterator]();
      stepInputs(batch, this.#state, (_name, _dtype, _shape, values) => {
        const tensor: Tensor = known.next().value!;
        writes.push(() => tensor.write(values));
        return tensor;
      });
    } else {
      this.#built?.graph[Symbol.dispose]();
      this.#built = undefined;
      const tensorsMax = tensorsPerLayer * this.#state.weights.config.layers + tensorsAround;
      const graph = new Graph(this.#device, { tensorsMax });
      const inputs: Tensor[] = [];
      const step = stepInputs(batch, this.#state, (name, dtype, shape, values) => {
        const tensor = graph.input(name, dtype, shape);
        inputs.push(tensor);
        writes.push(() => tensor.write(values));
        return tensor;
      });
      const outputs = decode(graph, this.#state, step);
      graph.output(outputs.logits);
      if (outputs.extraLogits) graph.output(outputs.extraLogits);
      this.#built = { key, graph, outputs, inputs };
    }
    const { graph, outputs } = this.#built;
    graph.allocate(this.#memory);
    for (const write of writes) write();
    graph.compute();
    return outputs;
  }
}

/** The batch as tensors. Asks `bind` in an order that depends on the batch's shape key alone. */
function stepInputs(batch: Batch, state: DecoderState, bind: Bind): StepInputs {
  const ints = (name: string, values: Int32Array) => bind(name, "i32", [values.length], values);
  const longs = (name: string, values: BigInt64Array) => bind(name, "i64", [values.length], values);
  const variants = (name: string, runs: readonly RunLayout[], vectorRows: Int32Array | undefined): VariantRows => ({
    runs: runs.map(({ dtype, firstRow, slots }) => ({
      dtype,
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
    groups: batch.groups.map(({ mask, ...group }) => ({
      ...group,
      mask: bind("mask", "f16", [group.cells, group.rows, 1, group.sequences], mask),
    })),
    attentionOrder: batch.gather && {
      gather: ints("gather", batch.gather),
      scatter: ints("scatter", scatterOf(batch.gather)),
    },
    variants: variants("rows", batch.runs, batch.vectorRows),
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
    outputVariants: variants("outputs", batch.outputRuns, batch.outputVectorRows),
    extraOutput: batch.extraOutput && ints("extra.outputs", batch.extraOutput),
  };
}

function readAll(tensor: Tensor): Float32Array {
  const values = new Float32Array(tensor.elements);
  tensor.read(values);
  return values;
}

function joined(a: Float32Array, b: Float32Array): Float32Array {
  const all = new Float32Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}
