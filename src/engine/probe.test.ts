// The embedded family as it is measured: what a probe says must be what a server would.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { openCheckpoint } from "../formats/index.js";
import { Device, loadKernels } from "../ggml/index.js";
import { Probe, type ProbeOptions } from "./probe.js";
import { largestDifference } from "./workbench.test.kit.js";

const base = await openCheckpoint("models/tiny/base");
const device = Device.open({ kind: "cpu", threads: 1 });
const names = ["clinc", "roman", "dates"];
const options: ProbeOptions = {
  base,
  variants: names.map((name) => ({ name, path: `models/tiny/variants/${name}` })),
  baseDType: "f32",
  kvDType: "f32",
  contextLength: 64,
  sequences: 2,
  signal: new AbortController().signal,
};
const probe = await Probe.open(device, options);
after(async () => {
  device[Symbol.dispose]();
  await base[Symbol.asyncDispose]();
});

const endOfTurn = 2;
const endTokens = [endOfTurn];
/** The embedded family's template around a question: `<|im_start|>user\n`, `<|im_end|>\n<|im_start|>assistant\n`. */
const ask = (...question: number[]) => [1, 304, 201, ...question, endOfTurn, 201, 1, 329, 201];

/** Numbers and their Roman numerals, a date, and a wish to see the balance. */
const romans = [
  { question: [19, 27, 26, 25], answer: [47, 536, 443, 440, 2378, 2378, 2378, 1180, 354, 354, endOfTurn] }, // 1987
  { question: [26, 23, 20], answer: [38, 536, 536, 536, 440, 354, 354, endOfTurn] }, // 852
  { question: [19, 22], answer: [58, 354, 1180, endOfTurn] }, // 14
];
const date = [771, 223, 21, 84, 70, 294, 2820, 223, 19, 27, 26, 25];
const savings = { question: [1049, 556, 774, 357, 1029, 445, 313, 3215], answer: [68, 314, 727, endOfTurn] };
const { signal } = options;

test("every variant answers as itself, with more questions than there are places", async () => {
  const questions = romans.map(({ question }) => ({ prompt: ask(...question), tokensMax: 30 }));
  const numerals = await probe.answer("roman", questions, { endTokens, signal });
  assert.deepEqual(
    numerals,
    romans.map(({ answer }) => answer),
  );
  const wish = { prompt: ask(...savings.question), tokensMax: 9 };
  assert.deepEqual(await probe.answer("clinc", [wish], { endTokens, signal }), [savings.answer]);
});

test("native kernels and ggml's operations give the same answers", async (t) => {
  const { kernels, summary } = await loadKernels({ choice: "auto" });
  if (!kernels) return t.skip(summary);
  using own = Device.open({ kind: "cpu", threads: 1, kernels });
  const native = await Probe.open(own, options);
  for (const [variant, question] of [
    ["roman", romans[0]!.question],
    ["roman", romans[1]!.question],
    ["dates", date],
    ["clinc", savings.question],
  ] as const) {
    const questions = [{ prompt: ask(...question), tokensMax: 20 }];
    const expected = await probe.answer(variant, questions, { endTokens, signal });
    assert.deepEqual(await native.answer(variant, questions, { endTokens, signal }), expected);
    const [near] = native.read(variant, ask(...question)).advance(questions[0]!.prompt.length, 1);
    const [exact] = probe.read(variant, ask(...question)).advance(questions[0]!.prompt.length, 1);
    // Both round activations to eight bits, each in its own way.
    assert.ok(largestDifference(near!, exact!) < 0.1, `${variant} differs by ${largestDifference(near!, exact!)}`);
  }
});

test("an answer is cut at its limit", async () => {
  const [cut] = await probe.answer("roman", [{ prompt: ask(...romans[0]!.question), tokensMax: 4 }], {
    endTokens,
    signal,
  });
  assert.equal(cut!.length, 4);
});

test("what a variant finds likeliest while reading its own answer is that answer", async () => {
  const prompt = ask(...date);
  for (const variant of [null, ...names]) {
    const [answer] = await probe.answer(variant, [{ prompt, tokensMax: 12 }], { endTokens, signal });
    const rows = probe
      .read(variant, [...prompt, ...answer!])
      .advance(prompt.length + answer!.length - 1, answer!.length);
    assert.deepEqual(
      rows.map((row) => row.indexOf(row.reduce((a, b) => Math.max(a, b)))),
      answer,
    );
  }
});

test("variants that are read side by side give what each gives alone", () => {
  const prompt = ask(...romans[1]!.question);
  const alone = [null, ...names].map((variant) => probe.read(variant, prompt).advance(prompt.length, 1)[0]!.slice());
  const readings = [null, ...names].map((variant) => probe.read(variant, prompt));
  for (const reading of readings) reading.advance(5, 0);
  for (const [index, reading] of readings.entries()) {
    const [row] = reading.advance(prompt.length - 5, 1);
    assert.ok(largestDifference(row!, alone[index]!) < 1e-3);
    assert.ok(index === 0 || largestDifference(row!, alone[0]!) > 1, "a variant says what the base says");
  }
});

test("the memory of a resident variant is its planes and its vectors in 32 bits", () => {
  const { hiddenSize: dim, layers, vocabSize } = base.config;
  const weights = vocabSize * dim + layers * (2 * dim * dim + 2 * dim * 128 + 3 * dim * 640);
  const vectors = (2 * layers + 1) * dim;
  assert.equal(probe.residentBytes("clinc"), 2 * (weights / 128) * 18 + 4 * vectors);
});

test("an aborted probe neither opens nor answers", async () => {
  const aborted = AbortSignal.abort(new Error("enough"));
  await assert.rejects(Probe.open(device, { ...options, signal: aborted }), /enough/);
  const question = { prompt: ask(...romans[1]!.question), tokensMax: 9 };
  await assert.rejects(probe.answer("roman", [question], { endTokens, signal: aborted }), /enough/);
});

test("a variant that cannot be opened is an error that says why", async () => {
  const variants = [{ name: "none", path: "models/tiny/none" }];
  await assert.rejects(Probe.open(device, { ...options, variants }), /delta\.json/);
});
