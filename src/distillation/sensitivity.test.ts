import assert from "node:assert/strict";
import { test } from "node:test";
import { headName, parametersOf } from "../core/index.js";
import { memoryCheckpoint, noise, randomSamples, randomWeights, smallConfig } from "./distillation.test.kit.js";
import { measureSensitivity, type Sensitivity } from "./sensitivity.js";
import { Teacher } from "./teacher.js";
import { Workspace } from "./workspace.js";

const config = smallConfig();
const weights = randomWeights(config);
const samples = randomSamples(60, 24, config.vocabSize).map((sample, index) => ({
  ...sample,
  weight: 1 + (index % 3),
}));
const signal = new AbortController().signal;

function measure(own = samples, onLayer?: (done: number, total: number) => void): Promise<Sensitivity> {
  const tuned = memoryCheckpoint(config, weights);
  return measureSensitivity({ tuned, samples: own, threads: 1, signal, ...(onLayer && { onLayer }) });
}

/** Mean divergence a counted token of a model with a matrix moved at random from the model as it is. */
async function divergenceWith(name: string): Promise<number> {
  const matrix = weights.get(name)!;
  const error = noise(matrix.length, 9000, 0.02);
  const moved = new Map(weights).set(name, matrix.map((value, i) => value + error[i]!)); // biome-ignore format: one thing
  const [own, other] = [await distributionsOf(weights), await distributionsOf(moved)];
  const divergence = own.map((p, row) =>
    p.reduce((sum, value, i) => sum + value * Math.log(value / other[row]![i]!), 0),
  );
  return divergence.reduce((sum, kl) => sum + kl, 0) / divergence.length;
}

async function distributionsOf(own: ReadonlyMap<string, Float32Array>): Promise<Float64Array[]> {
  using workspace = new Workspace(1);
  const groups = samples.map((sample) => [sample]);
  const teacher = await Teacher.run(workspace, memoryCheckpoint(config, own), groups, signal);
  return samples.flatMap((sample) => {
    const counted = sample.tokens.length - sample.from;
    const logits = teacher.logits(teacher.statesOf([sample], counted));
    return Array.from({ length: counted }, (_, at) => {
      const row = Float64Array.from(logits.subarray(at * config.vocabSize, (at + 1) * config.vocabSize), Math.exp);
      const sum = row.reduce((total, value) => total + value, 0);
      return row.map((value) => value / sum);
    });
  });
}

test("every linear layer and the output head has a sensitivity for each output", async () => {
  const layers: string[] = [];
  const { outputs, embedded } = await measure(samples, (done, total) => layers.push(`${done}/${total}`));
  const expected = parametersOf(config).filter(({ kind, name }) => kind === "linear" || name === headName(config));
  assert.deepEqual([...outputs.keys()].sort(), expected.map(({ name }) => name).sort());
  for (const { name, shape } of expected) {
    assert.equal(outputs.get(name)!.length, shape[0]);
    assert.ok(outputs.get(name)!.every((value) => value >= 0 && Number.isFinite(value)));
  }
  assert.ok(embedded > 0);
  assert.deepEqual(layers, ["1/4", "2/4", "3/4", "4/4"]);
});

// Of matrices that take the same input, so that the errors of their outputs are alike.
for (const [one, other] of [
  ["self_attn.q_proj", "self_attn.v_proj"],
  ["mlp.gate_proj", "mlp.up_proj"],
] as const) {
  test(`the same noise moves the model by as much more in ${one} than in ${other} as their sensitivities say`, async () => {
    const { outputs } = await measure();
    const nameOf = (matrix: string) => `model.layers.0.${matrix}.weight`;
    const sumOf = (matrix: string) => outputs.get(nameOf(matrix))!.reduce((sum, value) => sum + value, 0);
    const expected = sumOf(one) / sumOf(other);
    const seen = (await divergenceWith(nameOf(one))) / (await divergenceWith(nameOf(other)));
    assert.ok(seen / expected > 0.5 && seen / expected < 2, `${seen} times as much, ${expected} was expected`);
  });
}

test("weights count relative to each other, and the same text gives the same", async () => {
  const [once, again] = [await measure(), await measure(samples.map((own) => ({ ...own, weight: 7 * own.weight })))];
  assert.deepEqual(once.outputs, again.outputs);
  assert.equal(once.embedded, again.embedded);
});
