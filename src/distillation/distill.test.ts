import assert from "node:assert/strict";
import { test } from "node:test";
import { type DistillOptions, distill } from "./distill.js";
import { randomPair, randomSamples } from "./distillation.test.kit.js";
import type { Student } from "./student.js";

/** A distillation of a few steps that a test waits for. */
function optionsOf(options: Partial<DistillOptions> = {}, pair = randomPair()): DistillOptions {
  const samples = randomSamples(24, 12, pair.tuned.config.vocabSize);
  return { ...pair, samples, steps: 12, learningRate: 0.02, batchTokens: 64, threads: 1, seed: 3, ...options };
}

const planesOf = ({ matrices }: Student) => [...matrices.values()].flatMap(({ planes }) => planes);

test("a few steps bring the student nearer to the fine-tune on samples that it has not seen", async () => {
  const { heldOutLoss, keptStep } = await distill(optionsOf({ steps: 20 }));
  assert.ok(keptStep > 0);
  assert.ok(heldOutLoss.after < 0.95 * heldOutLoss.before, `${heldOutLoss.before} became ${heldOutLoss.after}`);
});

for (const [dtype, scaleBytes] of [
  ["q1_0", [0, 1]],
  ["tq1_0", [52, 53]],
] as const) {
  test(`training ${dtype} changes scales and vectors, no code, and nothing that it was given`, async () => {
    const pair = randomPair({ dtype });
    const before = structuredClone(pair.student);
    const { student } = await distill(optionsOf({}, pair));
    assert.deepEqual(pair.student, before);
    const blockBytes = dtype === "q1_0" ? 18 : 54;
    planesOf(student).forEach(({ bytes }, index) => {
      const first = planesOf(before)[index]!.bytes;
      const places = Array.from(bytes, (byte, at) => (byte === first[at] ? -1 : at % blockBytes));
      assert.deepEqual([...new Set(places)].filter((place) => place >= 0).sort(), scaleBytes);
    });
    assert.notDeepEqual(student.vectors, before.vectors);
    assert.deepEqual([...student.vectors.keys()], [...before.vectors.keys()]);
  });
}

test("planes without scales stay as they are, and what the student leaves to the base stays there", async () => {
  const pair = randomPair({ dtype: "f16" });
  const signs = randomPair();
  const name = "model.layers.1.mlp.up_proj.weight";
  const student = {
    matrices: new Map([
      ["model.embed_tokens.weight", pair.student.matrices.get("model.embed_tokens.weight")!],
      [name, signs.student.matrices.get(name)!],
    ]),
    vectors: new Map(),
  };
  const result = await distill(optionsOf({ student }));
  assert.deepEqual([...result.student.matrices.keys()], [...student.matrices.keys()]);
  assert.deepEqual(planesOf(result.student)[0], planesOf(student)[0]);
  assert.notDeepEqual(planesOf(result.student)[1], planesOf(student)[1]);
});

test("the same seed gives the same bytes, another one others", async () => {
  const run = async (seed: number) => (await distill(optionsOf({ seed, steps: 4 }))).student;
  const [first, again, other] = [await run(5), await run(5), await run(6)];
  assert.deepEqual(first, again);
  assert.notDeepEqual(first, other);
});

test("a student that training only makes worse is given back as it came", async () => {
  const options = optionsOf({ learningRate: 50, steps: 3 });
  const { student, keptStep, heldOutLoss } = await distill(options);
  assert.equal(keptStep, 0);
  assert.equal(heldOutLoss.after, heldOutLoss.before);
  assert.deepEqual(student, options.student);
});

test("progress counts to the last step, and an abort ends the work after the step at hand", async () => {
  const seen: number[] = [];
  await distill(optionsOf({ steps: 3, onProgress: ({ step }) => seen.push(step) }));
  assert.deepEqual(seen, [0, 1, 2, 3]);

  const controller = new AbortController();
  const aborted: number[] = [];
  const onProgress = ({ step }: { step: number }) => {
    aborted.push(step);
    if (step === 2) controller.abort(new Error("enough"));
  };
  await assert.rejects(distill(optionsOf({ steps: 9, signal: controller.signal, onProgress })), /enough/);
  assert.deepEqual(aborted, [0, 1, 2]);
});

test("what does not fit is refused before anything is computed", async () => {
  const refusals: readonly [Partial<DistillOptions>, RegExp][] = [
    [{ steps: 0 }, /steps are a positive whole number, got 0/],
    [{ samples: randomSamples(1, 4, 40) }, /two samples/],
    [
      {
        samples: [
          { tokens: [1, 2], from: 0 },
          { tokens: [1, 2], from: 2 },
        ],
      },
      /sample 1 counts from position 2/,
    ],
    [
      {
        samples: [
          { tokens: [1, 40], from: 0 },
          { tokens: [1], from: 0 },
        ],
      },
      /sample 0 has the token 40/,
    ],
    [
      {
        samples: [
          { tokens: new Array(65).fill(0), from: 0 },
          { tokens: [1], from: 0 },
        ],
      },
      /65 tokens, the model reads 64/,
    ],
    [{ tuned: randomPair({ config: { layers: 3 } }).tuned }, /model\.layers\.2.* is .*missing/],
    [
      { student: { matrices: new Map(), vectors: new Map([["model.norm.weight", new Float32Array(2)]]) } },
      /2 values for model\.norm/,
    ],
  ];
  for (const [options, message] of refusals) await assert.rejects(distill(optionsOf(options)), message);
});
