import assert from "node:assert/strict";
import { after, test } from "node:test";
import { defaultSampling, type SamplingParams } from "../core/index.js";
import { Device, loadKernels } from "../ggml/index.js";
import { Scheduler } from "../scheduler/index.js";
import { memoryCheckpoint, smallConfig } from "./random-model.test.kit.js";
import { sampleToken } from "./sampler.js";
import { openFamily } from "./variant-family.test.kit.js";
import { spec, Workbench } from "./workbench.test.kit.js";

const config = smallConfig();
const bench = await Workbench.open(memoryCheckpoint(config), { contextLength: 300, regions: 4 });
after(() => bench[Symbol.dispose]());

const nobody = () => undefined;
const scheduler = (...ids: string[]) => {
  const made = new Scheduler({ regions: 4, contextLength: 300, stepTokens: 64, queueMax: 8 });
  for (const [index, id] of ids.entries()) made.add(spec(id, [index + 1, 7, 9], { maxTokens: 20 }));
  return made;
};
const plan = (made: Scheduler) =>
  made.plan({ residency: () => "resident", identity: (variant) => variant, hasRoom: () => true });

test("a step draws a token for each sequence that reached its end, from the logits of that step", () => {
  const made = scheduler("a", "b");
  const first = plan(made);
  const { logits } = bench.stepper.logits(first, nobody);
  const drawn = bench.stepper.step(first, nobody);
  assert.deepEqual(
    drawn.map(({ id }) => id),
    ["a", "b"],
  );
  for (const [row, { token }] of drawn.entries()) assert.equal(token, logits[row]!.indexOf(Math.max(...logits[row]!)));
});

test("a plan computed twice gives the same twice: sequences are the scheduler's to change", () => {
  const made = scheduler("a", "b", "c");
  for (let step = 0; step < 3; step++) {
    const same = plan(made);
    const drawn = bench.stepper.step(same, nobody);
    assert.deepEqual(bench.stepper.step(same, nobody), drawn);
    made.commit(same, drawn);
  }
});

test("steady decoding, prompts between and growing widths: a graph that is used again computes what a new one does", () => {
  const ids = ["a", "b"];
  const requests = [
    spec("a", [1, 2, 3], { maxTokens: 280 }),
    spec("b", [4, 5], { maxTokens: 60 }),
    spec(
      "c",
      Array.from({ length: 70 }, (_, at) => (at * 5) % 96),
      { maxTokens: 9 },
    ),
  ];
  const together = bench.run(requests, { stepTokens: 40 });
  for (const id of ids)
    assert.deepEqual(together.get(id)!.tokens, bench.run([requests.find((one) => one.id === id)!]).get(id)!.tokens);
});

test("a chunk that draws nothing computes without an answer", () => {
  const made = new Scheduler({ regions: 1, contextLength: 300, stepTokens: 2, queueMax: 1 });
  made.add(spec("a", [1, 2, 3, 4]));
  const first = plan(made);
  assert.deepEqual(bench.stepper.step(first, nobody), []);
  made.commit(first, []);
  assert.deepEqual(
    bench.stepper.step(plan(made), nobody).map(({ id }) => id),
    ["a"],
  );
});

test("log probabilities come with the step when asked for", () => {
  const made = new Scheduler({ regions: 1, contextLength: 300, stepTokens: 64, queueMax: 1 });
  made.add(spec("a", [1, 2, 3], { topLogprobs: 3 }));
  const [drawn] = bench.stepper.step(plan(made), nobody);
  assert.equal(drawn!.top.length, 3);
  assert.equal(drawn!.top[0]!.token, drawn!.token);
  assert.equal(drawn!.top[0]!.logprob, drawn!.logprob);
});

const ways: readonly Partial<SamplingParams>[] = [
  { temperature: 0 },
  { temperature: 1.5 },
  { topP: 0.9 },
  { topK: 7, minP: 0.01 },
  { repetitionPenalty: 1.4, temperature: 3 },
  { presencePenalty: 2, frequencyPenalty: 1, logitBias: [[4, 5]] },
];

test("tokens drawn in the graph are those that are drawn from its logits, also of variants with words of their own", async (t) => {
  const { kernels, summary } = await loadKernels();
  if (!kernels) return t.skip(summary);
  const device = Device.open({ kind: "cpu", threads: 2, kernels });
  const more = { seed: 3, dtype: "q1_0", planes: 1, extraRows: 40 } as const;
  const { bench: own, resident } = await openFamily(config, { more }, { device });
  using _bench = own;
  const made = new Scheduler({ regions: 8, contextLength: own.cache.contextLength, stepTokens: 64, queueMax: 99 });
  for (const [index, way] of [...ways, ...ways].entries()) {
    const sampling = { ...defaultSampling, ...way, seed: index };
    const variant = index % 3 === 0 ? null : "more";
    const topLogprobs = index < ways.length ? null : index;
    made.add(
      spec(`${index}`, [index + 1, 7, 9], {
        variant,
        sampling,
        topLogprobs,
        maxTokens: 20,
        endTokens: [5],
        minTokens: 9,
      }),
    );
  }
  let beyond = 0;
  while (!made.isIdle) {
    const next = made.plan({ residency: () => "resident", identity: (variant) => variant, hasRoom: () => true });
    const { batch, logits } = own.stepper.logits(next, resident);
    const expected = batch.outputs.map(({ sequence }, row) => sampleToken(logits[row]!, sequence));
    const drawn = own.stepper.step(next, resident);
    assert.deepEqual(drawn, expected);
    beyond += drawn.filter(({ token }) => token >= config.vocabSize).length;
    made.commit(next, drawn);
  }
  assert.ok(beyond > 20, "words beyond the base's vocabulary are drawn");
});
