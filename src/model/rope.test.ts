import assert from "node:assert/strict";
import { test } from "node:test";
import type { ModelConfig, RopeScaling } from "../core/index.js";
import { ropeFactors } from "./rope.js";

const config = (ropeScaling: RopeScaling, fields: Partial<ModelConfig> = {}): ModelConfig => ({
  architecture: "llama",
  hiddenSize: 64,
  layers: 1,
  heads: 4,
  kvHeads: 4,
  headDim: 16,
  feedForward: 64,
  vocabSize: 32,
  contextLength: 256,
  rmsNormEps: 1e-5,
  ropeTheta: 10_000,
  ropeScaling,
  tiedEmbeddings: true,
  qkvBias: false,
  outputBias: false,
  mlpBias: false,
  qkNorm: false,
  slidingWindow: null,
  ...fields,
});

test("frequencies are divided by nothing without scaling, and linear scaling is of positions", () => {
  assert.equal(ropeFactors(config({ kind: "none" })), undefined);
  assert.equal(ropeFactors(config({ kind: "linear", factor: 4 })), undefined);
});

test("Llama 3 leaves short waves, stretches long ones by the factor, and blends between", () => {
  const llama3 = {
    kind: "llama3",
    factor: 8,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalContextLength: 8192,
  } as const;
  // Wavelengths are 2π·500000^(i/8): 6.28, 32.4, 167, 862, 4443, 22911, 118143, 609226; 8192/4 and 8192/1 bound the blend.
  const factors = ropeFactors(config(llama3, { ropeTheta: 500_000 }))!;
  assert.deepEqual([...factors.slice(0, 4)], [1, 1, 1, 1]);
  assert.deepEqual([...factors.slice(5)], [8, 8, 8]);
  // 8192 / 4442.88 = 1.843848 turns in the context; (1.843848 − 1) / (4 − 1) = 0.281283 of the way to leaving it alone;
  // 1 / ((1 − 0.281283) / 8 + 0.281283) = 2.69453.
  assert.ok(Math.abs(factors[4]! - 2.69453) < 1e-5, `${factors[4]}`);
});
