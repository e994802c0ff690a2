import assert from "node:assert/strict";
import { test } from "node:test";
import type { ModelConfig } from "../core/index.js";
import type { PlaneDType } from "../formats/index.js";
import { type Pair, randomPair, randomSamples } from "./distillation.test.kit.js";
import { readExtraRows } from "./extra-rows.js";
import { PassConstants } from "./pass.js";
import type { TrainingSample } from "./samples.js";
import { StudentWeights } from "./student-weights.js";
import { Teacher } from "./teacher.js";
import { PlaneScales, type Trainable } from "./trainable.js";
import { Trainer } from "./trainer.js";
import { Workspace } from "./workspace.js";

/** A trainer with what it works on, which lives as long as its workspace. */
async function trainerOf(workspace: Workspace, { base, tuned, student }: Pair, samples: readonly TrainingSample[]) {
  const weights = await StudentWeights.load(workspace, { base, student, dtypeOf: () => "f32" });
  const teacher = await Teacher.run(workspace, tuned, [samples], new AbortController().signal);
  const constants = new PassConstants(workspace, tuned.config);
  const extra = await readExtraRows(tuned, base.config.vocabSize);
  return { weights, trainer: new Trainer(workspace, { constants, weights, teacher, extra }) };
}

/** Offsets as they are after rounding: what the scales in `bytes` say that was moved, since `first`. */
function roundedOffsets(trainable: Trainable, first: readonly number[]): Float32Array {
  if (!(trainable instanceof PlaneScales)) return trainable.offsets.slice();
  return Float32Array.from(trainable.scales, (scale, i) => (first[i] === 0 ? 0 : Math.log(scale / first[i]!)));
}

/**
 * Holds how the loss changes along `trainable`'s gradient against what the gradient says: one number in which every element has a
 * share. Two distances, so that what is left of the loss's bend is of the fifth order.
 */
function assertSlope(name: string, trainable: Trainable, loss: () => number): void {
  const { offsets } = trainable;
  const gradient = trainable.gradient.slice();
  const length = Math.hypot(...gradient);
  assert.ok(length > 0, `${name} has no gradient`);
  const first = trainable instanceof PlaneScales ? [...trainable.scales] : [];
  const at = (distance: number) => {
    for (let i = 0; i < offsets.length; i++) offsets[i] = (distance * gradient[i]!) / length;
    trainable.store();
    const expected = roundedOffsets(trainable, first).reduce((sum, offset, i) => sum + offset * gradient[i]!, 0);
    return { loss: loss(), expected };
  };
  const size = trainable instanceof PlaneScales ? 0.1 : 0.02;
  const [near, nearBack, far, farBack] = [size, -size, 2 * size, -2 * size].map(at);
  at(0);
  const weigh = (value: (point: { loss: number; expected: number }) => number) =>
    8 * (value(near!) - value(nearBack!)) - (value(far!) - value(farBack!));
  const ratio = weigh((point) => point.loss) / weigh((point) => point.expected);
  assert.ok(Math.abs(ratio - 1) < 1e-3, `${name}: the loss changes by ${ratio} of what its gradient says`);
}

const models: readonly [
  string,
  Parameters<typeof randomPair>[0] & { config?: Partial<ModelConfig>; dtype?: PlaneDType },
][] = [
  ["a tied Llama of one sign plane", {}],
  [
    "an untied Mistral with a sliding window and two planes",
    { config: { tiedEmbeddings: false, slidingWindow: 3 }, planes: 2 },
  ],
  [
    "a Qwen 2 with biases and ternary planes",
    { config: { qkvBias: true, outputBias: true, mlpBias: true }, dtype: "tq1_0" },
  ],
  ["a Qwen 3 with norms over heads", { config: { qkNorm: true, headDim: 16 } }],
  [
    "a Llama whose positions are scaled and which has more words than its base",
    {
      extraRows: 5,
      config: {
        ropeScaling: {
          kind: "llama3",
          factor: 4,
          lowFrequencyFactor: 1,
          highFrequencyFactor: 4,
          originalContextLength: 16,
        },
      },
    },
  ],
];

for (const [what, options] of models) {
  test(`the gradients of ${what} are the slopes of its loss`, async () => {
    using workspace = new Workspace(1);
    const pair = randomPair(options);
    const samples = randomSamples(3, 9, pair.tuned.config.vocabSize);
    const { weights, trainer } = await trainerOf(workspace, pair, samples);
    const loss = trainer.lossAndGradients(samples);
    assert.ok(Math.abs(loss - trainer.loss(samples)) < 1e-6 * loss, "both ways give the same loss");
    const named: [string, Trainable][] = [
      ...[...weights.planes].flatMap(([name, planes]) =>
        planes.map(({ scales }, index): [string, Trainable] => [`${name} ${index}`, scales!]),
      ),
      ...weights.trainedVectors,
    ];
    for (const [name, trainable] of named) assertSlope(name, trainable, () => trainer.loss(samples));
  });
}
