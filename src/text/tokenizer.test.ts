import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { InvalidFile, KindredError, UnsupportedModel } from "../core/index.js";
import { uniformAt } from "../util/index.js";
import { TokenStream } from "./token-stream.js";
import { Tokenizer } from "./tokenizer.js";

type Json = Readonly<Record<string, unknown>>;

interface GoldenCase {
  readonly name: string;
  /** Where tokenizer.json and tokenizer_config.json are, of which these parts are replaced. */
  readonly folder: string;
  readonly tokenizer: Json;
  readonly tokenizerConfig: Json;
  /** What transformers gives for each text, and what it decodes that to, and some arbitrary ids. */
  readonly ids: number[][];
  readonly decoded: string[];
  readonly randomIds: number[][];
  readonly randomDecoded: string[];
}

const readJson = (path: string) => JSON.parse(readFileSync(path, "utf8")) as Json;
const golden = readJson("test/fixtures/tokenizers/golden.json") as { texts: string[]; cases: GoldenCase[] } & Json;

function open(folder: string, tokenizer: Json = {}, config: Json = {}): Tokenizer {
  const files = {
    tokenizer: { ...readJson(`${folder}/tokenizer.json`), ...tokenizer },
    tokenizerConfig: { ...readJson(`${folder}/tokenizer_config.json`), ...config },
  };
  return Tokenizer.from(files, folder);
}

const base = open("models/tiny/base");
const spm = open("test/fixtures/tokenizers/sentencepiece");

for (const { name, folder, tokenizer: parts, tokenizerConfig, ...expected } of golden.cases) {
  test(`encodes and decodes as transformers does: ${name}`, () => {
    const tokenizer = open(folder, parts, tokenizerConfig);
    golden.texts.forEach((text, index) => {
      assert.deepEqual(tokenizer.encode(text, { addSpecialTokens: true }), expected.ids[index], JSON.stringify(text));
      assert.equal(tokenizer.decode(expected.ids[index]!), expected.decoded[index]);
    });
    expected.randomIds.forEach((ids, index) => {
      assert.equal(tokenizer.decode(ids), expected.randomDecoded[index], ids.join());
    });
  });
}

test("leaves special tokens away where it is told to", () => {
  assert.deepEqual(spm.encode("a", { addSpecialTokens: true }), [1, ...spm.encode("a", { addSpecialTokens: false })]);
});

test("knows the tokens that steer", () => {
  assert.deepEqual(
    [base.bosToken, base.bosTokenId, base.eosToken, base.eosTokenId],
    ["<|endoftext|>", 0, "<|im_end|>", 2],
  );
  assert.deepEqual(
    [0, 1, 2, 3].map((id) => base.isSpecial(id)),
    [true, true, true, false],
  );
  const asObject = open(
    "models/tiny/base",
    {},
    { bos_token: { content: "<|im_start|>", lstrip: false }, eos_token: null },
  );
  assert.deepEqual([asObject.bosTokenId, asObject.eosToken, asObject.eosTokenId], [1, undefined, undefined]);
  assert.equal(base.vocabSize, 4096);
});

test("gives the bytes of each token, which together are the text", () => {
  const text = "«Ünïcödé» 🙂 text";
  for (const tokenizer of [base, spm]) {
    const tokens = tokenizer.encode(text, { addSpecialTokens: false });
    const bytes = Buffer.concat(tokens.map((token) => tokenizer.tokenBytes(token)));
    assert.equal(bytes.toString().trimStart(), text);
  }
  assert.deepEqual([...spm.tokenBytes(3 + 0xe2)], [0xe2]);
  assert.equal(Buffer.from(base.tokenBytes(2)).toString(), "<|im_end|>");
  assert.equal(base.tokenBytes(1e6).length, 0);
  assert.equal(base.tokenBytes(-1).length, 0);
});

test("keeps a first space where a text goes on, and special tokens where asked", () => {
  const tokens = [1, ...spm.encode("the sea", { addSpecialTokens: false }), 2];
  assert.equal(spm.decode(tokens), "the sea");
  assert.equal(spm.decode(tokens, { continues: true }), " the sea");
  assert.equal(base.decode([0, 1, 2], { skipSpecial: false }), "<|endoftext|><|im_start|><|im_end|>");
});

test("streams arbitrary tokens to the text that they decode to at once", () => {
  for (const tokenizer of [base, spm]) {
    for (let seed = 0; seed < 200; seed++) {
      const stream = new TokenStream(tokenizer);
      const tokens = Array.from({ length: 20 }, (_, at) => Math.floor(uniformAt(seed, at) * tokenizer.vocabSize));
      const pieces = tokens.map((token) => stream.push(token));
      assert.equal(pieces.join("") + stream.flush(), tokenizer.decode(tokens, { continues: true }), `seed ${seed}`);
    }
  }
});

const bpe = { type: "BPE", vocab: { a: 0 }, merges: [] };
const byteLevel = { type: "ByteLevel" };
const refused: ReadonlyArray<
  readonly [json: Json | undefined, says: RegExp, as: typeof InvalidFile | typeof UnsupportedModel]
> = [
  [undefined, /it has no tokenizer/, InvalidFile],
  [{}, /model is not an object/, InvalidFile],
  [{ model: { ...bpe, vocab: ["a"] } }, /model.vocab does not map text to ids/, InvalidFile],
  [{ model: { ...bpe, vocab: { a: 1e12 } } }, /model.vocab does not map text to ids/, InvalidFile],
  [{ model: { ...bpe, merges: [["a"]] } }, /model.merges is not a list of pairs/, InvalidFile],
  [{ model: { ...bpe, unk_token: 3 } }, /model.unk_token is neither text nor null/, InvalidFile],
  [{ model: bpe, added_tokens: [{ id: 0 }] }, /added_tokens has {"id":0}/, InvalidFile],
  [{ model: bpe, normalizer: "NFC" }, /normalizer is neither an object nor null/, InvalidFile],
  [
    { model: bpe, decoder: byteLevel, pre_tokenizer: { type: "Magic" } },
    /cannot be set up: Unknown PreTokenizer/,
    InvalidFile,
  ],
  [
    {
      model: bpe,
      decoder: byteLevel,
      post_processor: { type: "TemplateProcessing", single: [{ SpecialToken: { id: "z" } }] },
    },
    /gives tokens that have no id/,
    InvalidFile,
  ],
  [{ model: { ...bpe, type: "Unigram" } }, /of type "Unigram"; only "BPE" is known/, UnsupportedModel],
  [{ model: { ...bpe, continuing_subword_prefix: "##" } }, /continuing_subword_prefix of "##"/, UnsupportedModel],
  [{ model: bpe, decoder: { type: "WordPiece" } }, /decoder that is not known: {"type":"WordPiece"}/, UnsupportedModel],
  [{ model: bpe, decoder: null }, /decoder that is not known: null/, UnsupportedModel],
  [
    {
      model: bpe,
      decoder: byteLevel,
      pre_tokenizer: { type: "Split", pattern: { String: " " }, behavior: "MergedWithNext" },
    },
    /splits with the behavior "MergedWithNext"/,
    UnsupportedModel,
  ],
];

for (const [tokenizer, says, as] of refused) {
  test(`refuses ${JSON.stringify(tokenizer)}`, () => {
    const make = () => Tokenizer.from({ tokenizer, tokenizerConfig: {} }, "model");
    assert.throws(make, (error) => error instanceof as && says.test(error.message));
  });
}

test("answers a tokenizer.json with any one part replaced with a tokenizer or a typed error", () => {
  const json = readFileSync("test/fixtures/tokenizers/sentencepiece-without-bytes/tokenizer.json", "utf8");
  const junk = [null, 7, -1, 1e300, "", "x", true, [], [null], {}, { type: "Sequence" }, { Regex: "(" }];
  for (let seed = 0; seed < 600; seed++) {
    const tokenizer = JSON.parse(json) as Record<string, unknown>;
    replaceOne(tokenizer, seed, junk[seed % junk.length]);
    try {
      Tokenizer.from({ tokenizer, tokenizerConfig: {} }, "model").encode("<s> the sea\n🙂", { addSpecialTokens: true });
    } catch (error) {
      assert.ok(error instanceof KindredError, `seed ${seed}: ${error}`);
    }
  }
});

/** Walks down from `root`, at each step to a child drawn by the seed, and replaces the one where the walk stops. */
function replaceOne(root: object, seed: number, junk: unknown): void {
  let parent = root as Record<string, unknown>;
  for (let depth = 0; ; depth++) {
    const keys = Object.keys(parent);
    const key = keys[Math.floor(uniformAt(seed, 2 * depth) * keys.length)]!;
    const child = parent[key];
    const isLeaf = typeof child !== "object" || child === null || Object.keys(child).length === 0;
    if (isLeaf || uniformAt(seed, 2 * depth + 1) < 0.3) {
      parent[key] = junk;
      return;
    }
    parent = child as Record<string, unknown>;
  }
}
