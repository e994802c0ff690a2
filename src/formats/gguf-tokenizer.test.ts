import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { InvalidFile, UnsupportedModel } from "../core/index.js";
import type { GgufValue } from "./gguf.js";
import { GgufMetadata } from "./gguf-metadata.js";
import { ggufTextAssets } from "./gguf-tokenizer.js";

interface TokenizerFile {
  readonly model: { readonly vocab: Record<string, number>; readonly merges: unknown[] };
  readonly added_tokens: ReadonlyArray<{ readonly id: number; readonly content: string }>;
  readonly [part: string]: unknown;
}

const read = async (path: string) => JSON.parse(await readFile(path, "utf8")) as TokenizerFile;
const convert = (fields: Readonly<Record<string, GgufValue>>) => {
  const values = Object.entries(fields).map(([key, value]): [string, GgufValue] => [
    key === "chat_template" ? "tokenizer.chat_template" : `tokenizer.ggml.${key}`,
    value,
  ]);
  return ggufTextAssets(new GgufMetadata("m.gguf", new Map(values)));
};

/** A vocabulary as GGUF lists it: tokens by id, and 3 for those that are special, else 1. */
function listVocabulary({ model, added_tokens }: TokenizerFile): { tokens: string[]; token_type: number[] } {
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(model.vocab)) tokens[id] = token;
  const special = new Set(added_tokens.map(({ id }) => id));
  return { tokens, token_type: tokens.map((_, id) => (special.has(id) ? 3 : 1)) };
}

test("turns a byte-level vocabulary back into the tokenizer.json it came from", async () => {
  const original = await read("models/tiny/base/tokenizer.json");
  const merges = original.model.merges.map((merge) => (merge as string[]).join(" "));
  const ids = { bos_token_id: 0, eos_token_id: 2, add_bos_token: false };
  const assets = convert({
    model: "gpt2",
    pre: "smollm",
    ...listVocabulary(original),
    merges,
    ...ids,
    chat_template: "{{ x }}",
  });
  const tokenizer = assets.tokenizer as unknown as TokenizerFile;
  assert.deepEqual(tokenizer.model.vocab, original.model.vocab);
  assert.deepEqual(tokenizer.model.merges, merges);
  assert.deepEqual(tokenizer.added_tokens, original.added_tokens);
  assert.deepEqual(tokenizer.pre_tokenizer, original.pre_tokenizer);
  assert.deepEqual(tokenizer.decoder, original.decoder);
  assert.equal(assets.tokenizerConfig.eos_token, "<|im_end|>");
  assert.deepEqual(assets.generationConfig.eos_token_id, [2, 0]);
  assert.equal(assets.chatTemplate, "{{ x }}");
});

test("turns SentencePiece scores back into merges that come in the same order", async () => {
  const original = await read("test/fixtures/tokenizers/sentencepiece/tokenizer.json");
  const { tokens, token_type } = listVocabulary(original);
  const scores = tokens.map((_, id) => -id);
  const assets = convert({ model: "llama", tokens, token_type, scores, bos_token_id: 1, unknown_token_id: 0 });
  const tokenizer = assets.tokenizer as unknown as TokenizerFile;
  // A piece may come about in more ways than training saw; those it saw keep their order.
  const joined = (merge: unknown) => (merge as string[]).join("");
  const results = [...new Set(tokenizer.model.merges.map(joined))];
  assert.deepEqual(results, [...new Set(original.model.merges.map(joined))]);
  const single = (tokenizer.post_processor as { single: unknown[] }).single;
  assert.deepEqual(single[0], { SpecialToken: { id: "<s>", type_id: 0 } });
  assert.equal(assets.tokenizerConfig.tokenizer_class, "LlamaTokenizer");
});

test("puts a BOS before a text where the file, or failing that its kind, says so", () => {
  const singleOf = (fields: Readonly<Record<string, GgufValue>>) => {
    const { tokenizer } = convert({ tokens: ["<s>", "a"], token_type: [3, 1], merges: [], bos_token_id: 0, ...fields });
    return (tokenizer as { post_processor: { single: unknown[] } }).post_processor.single.length;
  };
  assert.equal(singleOf({ model: "llama" }), 2);
  assert.equal(singleOf({ model: "llama", add_bos_token: false }), 1);
  assert.equal(singleOf({ model: "gpt2", pre: "gpt-2" }), 1);
  assert.equal(singleOf({ model: "gpt2", pre: "llama-bpe" }), 2);
  assert.equal(singleOf({ model: "gpt2", add_bos_token: true }), 2);
});

test("has no tokenizer where the file has none", () => {
  assert.equal(ggufTextAssets(new GgufMetadata("m.gguf", new Map())).tokenizer, undefined);
});

const list = { tokens: ["a", "b"], merges: [] };
const refused: ReadonlyArray<
  readonly [fields: Record<string, GgufValue>, says: RegExp, as: typeof InvalidFile | typeof UnsupportedModel]
> = [
  [{ model: "t5", ...list }, /tokenizer.ggml.model is "t5"; known are gpt2, llama/, UnsupportedModel],
  [
    { model: "gpt2", pre: "bloom", ...list },
    /tokenizer.ggml.pre is "bloom"; known are default, gpt-2/,
    UnsupportedModel,
  ],
  [{ model: "gpt2", pre: "toString", ...list }, /tokenizer.ggml.pre is "toString"/, UnsupportedModel],
  [{ model: "gpt2", tokens: ["a"] }, /lacks "tokenizer.ggml.merges"/, InvalidFile],
  [{ model: "llama" }, /lacks "tokenizer.ggml.tokens"/, InvalidFile],
  [{ model: "llama", tokens: [1, 2] }, /"tokenizer.ggml.tokens" is \[1,2\], expected a list of texts/, InvalidFile],
  [{ model: "llama", ...list, scores: [1] }, /2 tokens, 2 token types and 1 scores/, InvalidFile],
  [{ model: "llama", ...list, bos_token_id: 2 }, /bos token is 2, outside its vocabulary of 2/, InvalidFile],
];

for (const [fields, says, as] of refused) {
  test(`refuses ${JSON.stringify(fields)}`, () => {
    assert.throws(
      () => convert(fields),
      (error) => error instanceof as && says.test(error.message),
    );
  });
}
