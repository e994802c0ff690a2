import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { defaultSampling, type SamplingParams, Sequence } from "../core/index.js";
import { uniformAt } from "../util/index.js";
import { sampleToken } from "./sampler.js";

interface Drawn {
  readonly sampling?: Partial<SamplingParams>;
  readonly prompt?: readonly number[];
  readonly generated?: readonly number[];
  readonly topLogprobs?: number | null;
  readonly endTokens?: readonly number[];
  readonly minTokens?: number;
}

function sequence(drawn: Drawn): Sequence {
  const { sampling, prompt = [0], generated = [], topLogprobs = null, endTokens = [], minTokens = 0 } = drawn;
  return new Sequence({
    id: "a",
    variant: null,
    prompt,
    generated,
    sampling: { ...defaultSampling, seed: 1, ...sampling },
    maxTokens: 1000,
    endTokens,
    minTokens,
    topLogprobs,
  });
}

const sample = (logits: ArrayLike<number>, drawn: Drawn) => sampleToken(Float32Array.from(logits), sequence(drawn));
const noise = (count: number, seed: number, size: number) =>
  Float32Array.from({ length: count }, (_, at) => size * (uniformAt(seed, at) - 0.5));

/** How often each token is drawn, over so many seeds. */
function counts(logits: Float32Array, sampling: Partial<SamplingParams>, draws: number): number[] {
  const seen = new Array<number>(logits.length).fill(0);
  for (let seed = 0; seed < draws; seed++) seen[sample(logits, { sampling: { ...sampling, seed } }).token]! += 1;
  return seen;
}

/**
 * What may be drawn and with what probability, the slow and obvious way: each filter sorts, cuts, and makes probabilities of what
 * is left.
 */
function reference(
  logits: Float32Array,
  { temperature = 1, topK = 0, topP = 1, minP = 0 }: Partial<SamplingParams>,
): Map<number, number> {
  const max = Math.max(...logits);
  let left = Array.from(logits, (logit, token) => ({ token, weight: Math.exp((logit - max) / temperature) }));
  left.sort((a, b) => b.weight - a.weight || a.token - b.token);
  const sum = () => left.reduce((total, { weight }) => total + weight, 0);
  if (topK > 0) left = left.slice(0, topK);
  const beforeTopP = sum();
  let reached = 0;
  left = left.filter(({ weight }) => {
    const isNeeded = topP >= 1 || reached < topP * beforeTopP;
    reached += weight;
    return isNeeded;
  });
  left = left.filter(({ weight }) => weight >= minP * left[0]!.weight);
  const all = sum();
  return new Map(left.map(({ token, weight }) => [token, weight / all]));
}

test("an end is not drawn before the answer has its least number of tokens, however likely it is", () => {
  const logits = [1, 9, 2, 8];
  const ends = { sampling: { temperature: 0, logitBias: [[3, 50] as const] }, endTokens: [1, 3, 700], minTokens: 2 };
  assert.equal(sample(logits, ends).token, 2);
  assert.equal(sample(logits, { ...ends, generated: [0] }).token, 2);
  assert.equal(sample(logits, { ...ends, generated: [0, 0] }).token, 3);
  assert.equal(sample(logits, { ...ends, generated: [0, 0, 0], minTokens: Infinity }).token, 2);
  for (let seed = 0; seed < 50; seed++) {
    assert.ok([0, 2].includes(sample(logits, { ...ends, sampling: { seed } }).token), `seed ${seed}`);
  }
});

test("temperature 0 takes the likeliest token, the first of equals", () => {
  assert.equal(sample([1, 3, 2], { sampling: { temperature: 0 } }).token, 1);
  assert.equal(sample([3, 1, 3], { sampling: { temperature: 0 } }).token, 0);
  assert.equal(sample([-5, -4, Number.NEGATIVE_INFINITY], { sampling: { temperature: 0, seed: 9 } }).token, 1);
});

test("temperature 0 takes it whatever the filters say", () => {
  assert.equal(sample([1, 3, 2], { sampling: { temperature: 0, topK: 1, topP: 0.01, minP: 0.9 } }).token, 1);
});

test("the filters leave exactly what sorting and cutting leaves", () => {
  const filters = fc.record({
    temperature: fc.constantFrom(0.2, 0.7, 1, 1.8),
    topK: fc.constantFrom(0, 0, 1, 2, 5, 20, 39, 40, 60),
    topP: fc.constantFrom(1, 1, 0.05, 0.3, 0.5, 0.9, 0.99),
    minP: fc.constantFrom(0, 0, 0.01, 0.1, 0.5, 1),
    spread: fc.constantFrom(0.1, 4, 25),
    values: fc.nat({ max: 10_000 }),
    hasTies: fc.boolean(),
  });
  fc.assert(
    fc.property(filters, ({ spread, values, hasTies, ...sampling }) => {
      const logits = noise(40, values, spread).map((logit) => (hasTies ? Math.round(logit) : logit));
      const allowed = reference(logits, sampling);
      const drawn = counts(logits, sampling, 120);
      drawn.forEach((count, token) => {
        assert.ok(count === 0 || allowed.has(token), `drew ${token}, of which ${[...allowed.keys()]} are left`);
        const expected = allowed.get(token) ?? 0;
        // 120 draws miss something this likely once in 10^12.
        assert.ok(expected < 0.2 || count > 0, `never drew ${token}, which has probability ${expected}`);
      });
    }),
    { numRuns: 300, seed: 7 },
  );
});

test("what is drawn has the distribution of what is left", () => {
  const logits = noise(12, 5, 3);
  const cases: Partial<SamplingParams>[] = [
    {},
    { temperature: 0.5 },
    { temperature: 2, topK: 7 },
    { topP: 0.8 },
    { minP: 0.3 },
    { temperature: 1.3, topK: 9, topP: 0.9, minP: 0.1 },
  ];
  const draws = 6000;
  for (const sampling of cases) {
    const expected = reference(logits, sampling);
    const seen = counts(logits, sampling, draws);
    const chiSquare = [...expected].reduce((sum, [token, p]) => sum + (seen[token]! - p * draws) ** 2 / (p * draws), 0);
    // At most 11 degrees of freedom: beyond 31.3 once in a thousand, and seeds are fixed.
    assert.ok(chiSquare < 31.3, `${JSON.stringify(sampling)}: chi-square ${chiSquare}`);
  }
});

test("a peaked vocabulary of real size is filtered as an even one is", () => {
  const vocabulary = 20_000;
  const even = noise(vocabulary, 3, 0.01);
  const peaked = noise(vocabulary, 4, 8).map((logit, token) => (token % 3000 === 17 ? logit + 25 : logit));
  for (const [name, logits] of Object.entries({ even, peaked })) {
    for (const sampling of [
      { topK: 50 },
      { topP: 0.95 },
      { topK: 50, topP: 0.9 },
      { minP: 0.05 },
      { topP: 0.9, minP: 0.02 },
    ]) {
      const allowed = reference(logits, sampling);
      for (let seed = 0; seed < 8; seed++) {
        const { token } = sample(logits, { sampling: { ...sampling, seed } });
        assert.ok(allowed.has(token), `${name} ${JSON.stringify(sampling)}`);
      }
    }
  }
});

test("a draw is a function of seed and position: resumed elsewhere, a sequence goes on as it would have", () => {
  const logits = noise(100, 8, 4);
  const lived = (seed: number) => {
    const one = sequence({ prompt: [1, 2], sampling: { seed } });
    for (let position = 0; position < 30; position++) one.tokens.push(sampleToken(logits.slice(), one).token);
    return one.tokens.slice(2);
  };
  const resumedAtEachToken = (seed: number) => {
    const generated: number[] = [];
    for (let position = 0; position < 30; position++) {
      generated.push(sample(logits, { prompt: [1, 2], generated, sampling: { seed } }).token);
    }
    return generated;
  };
  assert.deepEqual(resumedAtEachToken(5), lived(5));
  assert.notDeepEqual(lived(5), lived(6));
  assert.ok(new Set(lived(5)).size > 10, "positions draw anew");
});

test("repetition penalty divides positive and multiplies negative logits of what was in prompt or output, once", () => {
  const spec = { sampling: { repetitionPenalty: 2, temperature: 0 }, prompt: [0, 0], generated: [1, 1] };
  assert.equal(sample([5, 4, 2.4], spec).token, 0, "5 / 2 > 4 / 2, 2.4");
  assert.equal(sample([5, 4, 2.6], spec).token, 2);
  assert.equal(sample([-1, -3, -1.9], spec).token, 2, "-1 * 2 < -1.9");
  assert.equal(sample([-1, -3, -2.1], spec).token, 0);
});

test("presence and frequency penalties count the output alone, as OpenAI defines them", () => {
  const prompt = [2, 2, 2];
  const generated = [0, 0, 1];
  const draw = (logits: number[], sampling: Partial<SamplingParams>) =>
    sample(logits, { prompt, generated, sampling: { ...sampling, temperature: 0 } }).token;
  assert.equal(draw([5, 5.1, 3.9], { presencePenalty: 1 }), 1);
  assert.equal(draw([5, 4.9, 4.1], { presencePenalty: 1 }), 2, "5 - 1 < 4.1");
  assert.equal(draw([5, 4.1, 2.9], { frequencyPenalty: 1 }), 1, "5 - 2 < 4.1 - 1");
  assert.equal(draw([5, 3.9, 2.8], { frequencyPenalty: 1 }), 0, "5 - 2 > 3.9 - 1");
  assert.equal(draw([5, 4.4, 3], { frequencyPenalty: 1, presencePenalty: 0.5 }), 2, "5 - 2.5, 4.4 - 1.5, 3");
  assert.equal(draw([1, 2, 2.5], { presencePenalty: -2 }), 1, "negative ones encourage");
});

test("logit bias is added before anything is drawn; −100 forbids and 100 forces", () => {
  const logits = [3, 2, 1];
  assert.equal(sample(logits, { sampling: { temperature: 0, logitBias: [[2, 2.5]] } }).token, 2);
  for (let seed = 0; seed < 50; seed++) {
    assert.notEqual(sample(logits, { sampling: { seed, logitBias: [[0, -100]] } }).token, 0);
    assert.equal(sample(logits, { sampling: { seed, logitBias: [[1, 100]] } }).token, 1);
  }
  assert.equal(
    sample(logits, { sampling: { temperature: 0, logitBias: [[99, 100]] } }).token,
    0,
    "of a token that this vocabulary has not",
  );
});

test("log probabilities are the log softmax of the model's own logits, whatever the sampling", () => {
  const logits = noise(50, 2, 10);
  const logSum = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
  const sampling = {
    temperature: 0.3,
    topK: 5,
    logitBias: [[7, 30]] as const,
    repetitionPenalty: 1.5,
    presencePenalty: 1,
  };
  const { token, logprob, top } = sample(logits, { sampling, generated: [7], topLogprobs: 4 });
  assert.equal(token, 7);
  const close = (actual: number | null, expected: number) =>
    assert.ok(Math.abs(actual! - expected) < 1e-5, `${actual} for ${expected}`);
  close(logprob, logits[7]! - logSum);
  const best = Array.from(logits, (logit, at) => ({ at, logit }))
    .sort((a, b) => b.logit - a.logit)
    .slice(0, 4);
  assert.deepEqual(
    top.map((alternative) => alternative.token),
    best.map(({ at }) => at),
  );
  for (const [rank, { logprob: reported }] of top.entries()) close(reported, best[rank]!.logit - logSum);
});

test("log probabilities are reported when asked for, with no alternatives if none are", () => {
  assert.deepEqual(sample([1, 2], { sampling: { temperature: 0 } }), { id: "a", token: 1, logprob: null, top: [] });
  const { logprob, top } = sample([1, 2], { sampling: { temperature: 0 }, topLogprobs: 0 });
  assert.ok(Math.abs(logprob! - Math.log(1 / (1 + Math.exp(-1)))) < 1e-6);
  assert.deepEqual(top, []);
  assert.equal(sample([1, 2], { topLogprobs: 9 }).top.length, 2, "no more than there are tokens");
});

test("logits that are not numbers end in a token all the same, and never in one of them if there is another", () => {
  const everySampling: Partial<SamplingParams>[] = [
    {},
    { temperature: 0 },
    { topK: 2 },
    { topP: 0.5 },
    { minP: 0.1 },
    { topK: 3, topP: 0.5, minP: 0.1 },
  ];
  const [nan, infinity] = [Number.NaN, Number.POSITIVE_INFINITY];
  for (const sampling of everySampling) {
    for (let seed = 0; seed < 20; seed++) {
      const draw = (logits: number[]) => sample(logits, { sampling: { ...sampling, seed } }).token;
      assert.equal(draw([nan, nan, nan, nan]), 0);
      assert.ok([1, 3].includes(draw([nan, 1, nan, 1.1, nan])), JSON.stringify(sampling));
      assert.ok(draw([-infinity, -infinity]) < 2);
      assert.ok(draw([infinity, 1, 2]) < 3);
      assert.equal(draw([-infinity, 1, -infinity]), 1);
    }
  }
});
