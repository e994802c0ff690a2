import assert from "node:assert/strict";
import { test } from "node:test";
import { type ModelConfig, parametersOf } from "../core/index.js";
import { Device } from "../ggml/index.js";
import { smallCheckpoint, smallModel, valueAt } from "../model/small-checkpoint.test.kit.js";
import { Lockstep } from "./lockstep.js";
import type { InputStatistics } from "./statistics.js";

const never = new AbortController().signal;
const sequences = [[3, 7, 7, 1, 40], [9], [2, 30, 11]].map((tokens, index) => ({ tokens, weight: index + 1 }));
const forms: Readonly<Record<string, Partial<ModelConfig>>> = {
  "with biases, an output head of its own": {},
  "tied, with norms over heads": { tiedEmbeddings: true, qkvBias: false, qkNorm: true },
  "two layers and a sliding window": { layers: 2, slidingWindow: 2, outputBias: true, mlpBias: true },
};

/** Values of a parameter of the small checkpoint. */
function parameterOf(config: ModelConfig, name: string): Float32Array {
  const parameters = parametersOf(config);
  const index = parameters.findIndex((parameter) => parameter.name === name);
  const count = parameters[index]!.shape.reduce((product, extent) => product * extent, 1);
  return Float32Array.from({ length: count }, (_, at) => valueAt(index, at));
}

/** Runs the model beside one whose matrices are what `student` makes of them. */
async function observe(
  config: ModelConfig,
  student: (values: Float32Array, name: string) => Float32Array = (values) => values,
): Promise<Map<string, InputStatistics>> {
  using device = Device.open({ kind: "cpu", threads: 1 });
  using lockstep = new Lockstep(device, smallCheckpoint("f32", config), sequences);
  const seen = new Map<string, InputStatistics>();
  const embedding = student(parameterOf(config, "model.embed_tokens.weight"), "model.embed_tokens.weight");
  const answer = async (name: string, statistics: InputStatistics) => {
    seen.set(name, statistics);
    return student(parameterOf(config, name), name);
  };
  await lockstep.run(embedding, answer, never);
  return seen;
}

const largest = (values: Float32Array) => values.reduce((max, value) => Math.max(max, Math.abs(value)), 0);

for (const [what, fields] of Object.entries(forms)) {
  const config = { ...smallModel, ...fields };
  const matrices = parametersOf(config).filter(({ kind }) => kind === "linear" || kind === "head");

  test(`${what}: every matrix is asked for once, in the order of computation`, async () => {
    const seen = await observe(config);
    assert.deepEqual(
      [...seen.keys()],
      matrices.map(({ name }) => name),
    );
    for (const { name, shape } of matrices) {
      const { moment, drift } = seen.get(name)!;
      assert.equal(moment.length, shape[1]! ** 2);
      assert.equal(drift.length, shape[0]! * shape[1]!);
    }
  });

  test(`${what}: a student that lost nothing has nothing to make up for`, async () => {
    for (const [name, { moment, drift }] of await observe(config)) {
      assert.ok(largest(moment) > 0.01, name);
      assert.ok(largest(drift) < 1e-5 * largest(moment), `${name} drifts by ${largest(drift)}`);
    }
  });
}

test("the first inputs are the normed embeddings, each token as it counts", async () => {
  const moment = (await observe(smallModel)).get("model.layers.0.self_attn.q_proj.weight")!.moment;
  const { hiddenSize: n, rmsNormEps } = smallModel;
  const embedding = parameterOf(smallModel, "model.embed_tokens.weight");
  const scale = parameterOf(smallModel, "model.layers.0.input_layernorm.weight");
  const expected = new Float64Array(n * n);
  const total = sequences.reduce((sum, { tokens, weight }) => sum + tokens.length * weight, 0);
  for (const { tokens, weight } of sequences) {
    for (const token of tokens) {
      const row = embedding.subarray(token * n, (token + 1) * n);
      const size = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / n + rmsNormEps);
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++)
          expected[i * n + j]! += ((row[i]! * scale[i]! * row[j]! * scale[j]!) / size ** 2) * (weight / total);
      }
    }
  }
  for (let at = 0; at < expected.length; at++) assert.ok(Math.abs(moment[at]! - expected[at]!) < 1e-6);
});

test("what a layer loses is the drift of the next: the stream is behind by what was left out", async () => {
  const name = "model.layers.0.self_attn.o_proj.weight";
  const seen = await observe(smallModel, (values, own) => (own === name ? values.map(() => 0) : values));
  const drift = (matrix: string) => largest(seen.get(`model.layers.0.${matrix}.weight`)!.drift);
  assert.ok(drift("self_attn.o_proj") < 1e-5);
  assert.ok(drift("mlp.gate_proj") > 1e-3);
  assert.ok(drift("mlp.down_proj") > 1e-3);
});

test("a matrix that cannot be compressed ends it once the others of its stage have answered", async () => {
  using device = Device.open({ kind: "cpu", threads: 1 });
  using lockstep = new Lockstep(device, smallCheckpoint(), sequences);
  const answered: string[] = [];
  const compress = async (name: string) => {
    if (name.includes("q_proj")) throw new Error("not this one");
    await new Promise((resolve) => setTimeout(resolve, 20));
    answered.push(name);
    return parameterOf(smallModel, name);
  };
  const running = lockstep.run(parameterOf(smallModel, "model.embed_tokens.weight"), compress, never);
  await assert.rejects(running, /not this one/);
  assert.deepEqual(answered.length, 2);
});

test("is stopped between stages", async () => {
  using device = Device.open({ kind: "cpu", threads: 1 });
  using lockstep = new Lockstep(device, smallCheckpoint(), sequences);
  const controller = new AbortController();
  const compress = async (name: string) => {
    controller.abort(new Error("enough"));
    return parameterOf(smallModel, name);
  };
  const running = lockstep.run(parameterOf(smallModel, "model.embed_tokens.weight"), compress, controller.signal);
  await assert.rejects(running, /enough/);
});
