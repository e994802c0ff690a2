// Models that say what a script says: every rule of a contest without a model.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Question } from "../engine/index.js";
import { openCheckpoint } from "../formats/index.js";
import { TextFormat, type TextSample, type TextSet } from "../text/index.js";
import { Contest, type Contestant, type Voice } from "./contest.js";

await using base = await openCheckpoint("models/tiny/base");
const format = new TextFormat(base);
const words = format.tokenizer.vocabSize;
const end = format.tokenizer.eosTokenId!;
const encode = (text: string) => format.tokenizer.encode(text, { addSpecialTokens: false });

/** A model that has one answer to everything and finds each of its tokens `sureness` logits likelier than others. */
class Parrot implements Voice {
  readonly asked: Question[] = [];
  readonly heard: (readonly number[])[] = [];
  readonly #says: readonly number[];
  readonly #sureness: number;
  readonly #vocabSize: number;

  constructor(says: string, { sureness = 9, vocabSize = words } = {}) {
    this.#says = [...encode(says), end];
    this.#sureness = sureness;
    this.#vocabSize = vocabSize;
  }

  read(_variant: string | null, tokens: readonly number[]) {
    this.heard.push(tokens);
    let place = tokens.length - this.#says.length;
    let read = 0;
    return {
      advance: (count: number, scored: number) => {
        read += count;
        place = read - scored;
        return Array.from({ length: scored }, (_, row) => this.#rowBefore(tokens.length, place + row + 1));
      },
    };
  }

  async answer(_variant: string | null, questions: readonly Question[]) {
    this.asked.push(...questions);
    return questions.map(() => [...this.#says]);
  }

  /** Speaks so that its answer would end where the text ends. */
  #rowBefore(length: number, target: number): Float32Array {
    const logits = new Float32Array(this.#vocabSize);
    const token = this.#says[target - (length - this.#says.length)];
    if (token !== undefined && token < this.#vocabSize) logits[token] = this.#sureness;
    return logits;
  }
}

const chat = (reference: string): TextSample => {
  const prompt = encode("<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n");
  return { tokens: [...prompt, ...encode(reference), end], firstCounted: prompt.length, reference };
};
const setOf = (...samples: TextSample[]): TextSet => ({ name: "set", path: "set.jsonl", samples, tooLong: 0 });
const contestant = (probe: Voice, vocabSize = words): Contestant => ({ name: "one", probe, variant: null, vocabSize });

async function run(set: TextSet, reference: Voice, ...others: Contestant[]) {
  let read = 0;
  const contest = new Contest({
    reference: contestant(reference),
    contestants: others,
    format,
    signal: new AbortController().signal,
    onRead: (tokens) => {
      read += tokens;
    },
  });
  return { results: await contest.run(set), read };
}

test("one that says what the fine-tune says is at no distance, agrees and recovers all", async () => {
  const set = setOf(chat("balance"));
  const { results } = await run(
    set,
    new Parrot("balance"),
    contestant(new Parrot("income")),
    contestant(new Parrot("balance")),
  );
  const { fidelity, recovered, answers } = results[1]!;
  assert.equal(fidelity.positions, encode("balance").length + 1);
  assert.deepEqual([fidelity.kl.max, fidelity.topAgreement, recovered], [0, 1, 1]);
  assert.deepEqual([answers!.identical, answers!.accuracy, answers!.lost], [1, 1, 0]);
  assert.deepEqual([results[0]!.recovered, results[0]!.answers!.accuracy, results[0]!.answers!.lost], [0, 0, 1]);
});

test("only answers that are not known from reading are written, with room for twice the reference", async () => {
  const [tuned, follows, strays] = [
    new Parrot("balance"),
    new Parrot("balance", { sureness: 5 }),
    new Parrot("income"),
  ];
  const set = setOf(chat("balance"), chat("balance"));
  await run(set, tuned, contestant(strays), contestant(follows));
  assert.deepEqual([tuned.asked.length, follows.asked.length, strays.asked.length], [0, 0, 2]);
  assert.equal(strays.asked[0]!.tokensMax, 2 * (encode("balance").length + 1) + 8);
});

test("a fine-tune that is wrong can be followed, and beaten", async () => {
  const set = setOf(chat("balance"));
  const { results } = await run(
    set,
    new Parrot("income"),
    contestant(new Parrot("balance")),
    contestant(new Parrot("income")),
  );
  const [beats, follows] = results.map(({ answers }) => answers!);
  assert.deepEqual([beats!.accuracy, beats!.won, beats!.identical], [1, 1, 0]);
  assert.deepEqual([follows!.accuracy, follows!.won, follows!.identical], [0, 0, 1]);
});

test("an answer without an end is written even when it begins as the reference", async () => {
  const sample = chat("balance");
  const open = { ...sample, tokens: sample.tokens.slice(0, -1) };
  const parrot = new Parrot("balance");
  await run(setOf(open), parrot, contestant(new Parrot("income")));
  assert.equal(parrot.asked.length, 1);
});

test("text has no answers", async () => {
  const text = { tokens: encode("Once upon a time there was a"), firstCounted: 1, reference: null };
  const { results } = await run(setOf(text), new Parrot("a"), contestant(new Parrot("a")));
  assert.equal(results[0]!.answers, null);
  assert.equal(results[0]!.fidelity.positions, text.tokens.length - 1);
});

test("one of fewer words hears its first word for those it lacks, and is held against the fine-tune where it can be", async () => {
  const few = words - 10;
  const fewer = new Parrot("balance", { vocabSize: few });
  const sample = chat("balance");
  const strange = { ...sample, tokens: [words - 1, ...sample.tokens], firstCounted: sample.firstCounted + 1 };
  const { results } = await run(setOf(strange), new Parrot("balance"), contestant(fewer, few));
  assert.deepEqual(fewer.heard[0], [0, ...sample.tokens]);
  assert.ok(results[0]!.fidelity.kl.max < 1e-9);
});

test("progress counts every token that a model reads", async () => {
  const sample = chat("balance");
  const { read } = await run(setOf(sample, sample), new Parrot("balance"), contestant(new Parrot("balance")));
  assert.equal(read, 2 * 2 * (sample.tokens.length - 1));
});

test("a logit that is no number ends it, naming the one and the sample", async () => {
  const broken = new Parrot("balance", { sureness: Number.NaN });
  await assert.rejects(run(setOf(chat("balance")), new Parrot("balance"), contestant(broken)), {
    name: "UnusableLogits",
    message: /compare one .* sample 1 of set\.jsonl/,
  });
});
