// The embedded family as it is measured: what a probe says must be what a server would.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { openCheckpoint } from "../formats/index.js";
import { Device } from "../ggml/index.js";
import { Tokenizer } from "../text/index.js";
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
  await probe[Symbol.asyncDispose]();
  device[Symbol.dispose]();
  await base[Symbol.asyncDispose]();
});

const tokenizer = Tokenizer.from(base.text, base.path);
const ask = (text: string) =>
  tokenizer.encode(`<|im_start|>user\n${text}<|im_end|>\n<|im_start|>assistant\n`, { addSpecialTokens: false });
const endTokens = [tokenizer.eosTokenId!];
const { signal } = options;

test("every variant answers as itself, with more questions than there are places", async () => {
  const questions = ["1987", "852", "14", "2080"].map((text) => ({ prompt: ask(text), tokensMax: 30 }));
  const answers = await probe.answer("roman", questions, { endTokens, signal });
  assert.deepEqual(
    answers.map((tokens) => tokenizer.decode(tokens)),
    ["M C M L X X X V I I", "D C C C L I I", "X I V", "M M L X X X"],
  );
  assert.ok(answers.every((tokens) => tokens.at(-1) === endTokens[0]));
  const [balance] = await probe.answer(
    "clinc",
    [{ prompt: ask("how much money do i have in savings"), tokensMax: 9 }],
    {
      endTokens,
      signal,
    },
  );
  assert.equal(tokenizer.decode(balance!), "balance");
});

test("an answer is cut at its limit", async () => {
  const [cut] = await probe.answer("roman", [{ prompt: ask("1987"), tokensMax: 4 }], { endTokens, signal });
  assert.equal(cut!.length, 4);
});

test("what a variant finds likeliest while reading its own answer is that answer", async () => {
  const prompt = ask("the 3rd of May 1987");
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
  const prompt = ask("852");
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
  const question = { prompt: ask("852"), tokensMax: 9 };
  await assert.rejects(probe.answer("roman", [question], { endTokens, signal: aborted }), /enough/);
});

test("a variant that cannot be opened is an error that says why", async () => {
  const variants = [{ name: "none", path: "models/tiny/none" }];
  await assert.rejects(Probe.open(device, { ...options, variants }), /delta\.json/);
});
