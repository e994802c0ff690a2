import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { InvalidFile } from "../core/index.js";
import { TextFormat } from "./text-format.js";
import { readTextSet, type TextSetOptions } from "./text-set.js";

const folder = await mkdtemp(join(tmpdir(), "kindred-text-set-"));
after(() => rm(folder, { recursive: true, force: true }));

const base = "models/tiny/base";
const json = (file: string) => JSON.parse(readFileSync(join(base, file), "utf8")) as Record<string, unknown>;
const tinyFiles = {
  tokenizer: json("tokenizer.json"),
  tokenizerConfig: json("tokenizer_config.json"),
  chatTemplate: readFileSync(join(base, "chat_template.jinja"), "utf8"),
  generationConfig: {},
};
const config = { vocabSize: 4096 };
const formatWith = (chatTemplate: string | undefined) =>
  new TextFormat({ path: base, text: { ...tinyFiles, chatTemplate }, configJson: json("config.json"), config });
const format = formatWith(tinyFiles.chatTemplate);
const decode = (tokens: readonly number[]) => format.tokenizer.decode(tokens, { skipSpecial: false, continues: true });

let written = 0;
async function read(ending: string, content: string, options: Partial<TextSetOptions> = {}, own = format) {
  const path = join(folder, `set${written++}${ending}`);
  await writeFile(path, content);
  return readTextSet(path, own, { contextLength: 512, ...options });
}
const lines = (...entries: unknown[]) => entries.map((entry) => JSON.stringify(entry)).join("\n");
const ask = { role: "user", content: "852" };

test("of a chat the answer counts, with the token that ends the turn, and nothing behind it", async () => {
  const messages = [ask, { role: "assistant", content: "D C C C L I I" }];
  const { samples } = await read(".jsonl", lines({ messages }));
  const [{ tokens, firstCounted, reference }] = samples as [(typeof samples)[0]];
  assert.equal(decode(tokens.slice(0, firstCounted)), "<|im_start|>user\n852<|im_end|>\n<|im_start|>assistant\n");
  assert.equal(decode(tokens.slice(firstCounted)), "D C C C L I I<|im_end|>");
  assert.equal(reference, "D C C C L I I");
});

test("an item with its answer apart is the same chat", async () => {
  const messages = [ask, { role: "assistant", content: "D C C" }];
  const { samples } = await read(".jsonl", lines({ messages }, { messages: [ask], answer: "D C C" }));
  assert.deepEqual(samples[1], samples[0]);
});

test("the embedded tasks are sets of 300 chats", async () => {
  const { name, samples, tooLong } = await readTextSet("models/tiny/tasks/clinc.jsonl", format, { contextLength: 512 });
  assert.deepEqual([name, samples.length, tooLong], ["clinc", 300, 0]);
  for (const { tokens, firstCounted, reference } of samples) {
    assert.equal(decode(tokens.slice(firstCounted)), `${reference}<|im_end|>`);
  }
});

test("a template that asks otherwise than it shows an answer gives both as they are", async () => {
  const thinking = `${tinyFiles.chatTemplate}{% if add_generation_prompt %}<think>{% endif %}`;
  const { samples } = await read(".jsonl", lines({ messages: [ask], answer: " D C C " }), {}, formatWith(thinking));
  const { tokens, firstCounted } = samples[0]!;
  assert.match(decode(tokens.slice(0, firstCounted)), /assistant\n<think>$/);
  assert.equal(decode(tokens.slice(firstCounted)), "D C C <|im_end|>");
});

test("an earlier answer in a chat is context", async () => {
  const messages = [ask, { role: "assistant", content: "I" }, ask, { role: "assistant", content: "V" }];
  const { samples } = await read(".jsonl", lines({ messages }));
  assert.equal(decode(samples[0]!.tokens.slice(samples[0]!.firstCounted)), "V<|im_end|>");
});

test("a text is cut into windows without losing a token, and all but the first token of each counts", async () => {
  const text = "Once upon a time there was a café. ".repeat(20);
  const whole = format.tokenizer.encode(text, { addSpecialTokens: false });
  for (const [ending, content] of [
    [".txt", text],
    [".jsonl", lines({ text })],
  ] as const) {
    const { samples } = await read(ending, content, { windowTokens: 50 });
    assert.deepEqual(
      samples.flatMap(({ tokens }) => tokens),
      whole,
    );
    assert.deepEqual(new Set(samples.slice(0, -1).map(({ tokens }) => tokens.length)), new Set([50]));
    assert.ok(samples.every(({ firstCounted, reference }) => firstCounted === 1 && reference === null));
  }
});

test("every window begins with BOS where the tokenizer puts one before a text", async () => {
  const bos = "<|im_start|>";
  const id = format.tokenizer.encode(bos, { addSpecialTokens: false })[0]!;
  const template = {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: bos, type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    pair: [],
    special_tokens: { [bos]: { id: bos, ids: [id], tokens: [bos] } },
  };
  const text = {
    ...tinyFiles,
    tokenizer: { ...tinyFiles.tokenizer, post_processor: template },
    tokenizerConfig: { ...tinyFiles.tokenizerConfig, bos_token: bos },
  };
  const own = new TextFormat({ path: base, text, configJson: {}, config });
  const { samples } = await read(".txt", "one two three ".repeat(10), { windowTokens: 10 }, own);
  assert.ok(samples.length > 2);
  for (const { tokens } of samples) assert.deepEqual([tokens.indexOf(id), tokens.lastIndexOf(id)], [0, 0]);
});

test("limits take chats and text from the beginning, and chats beyond the context are counted", async () => {
  const chat = (answer: string) => ({ messages: [ask], answer });
  const content = lines(chat("one"), chat("long ".repeat(60)), chat("two"), { text: "word ".repeat(100) });
  const { samples, tooLong } = await read(".jsonl", content, {
    contextLength: 40,
    chatsMax: 2,
    textTokensMax: 60,
  });
  assert.equal(tooLong, 1);
  assert.deepEqual(
    samples.map(({ reference }) => reference),
    ["one", null, null],
  );
  assert.equal(samples[1]!.tokens.length, 40);
});

const bad: readonly [string, string, RegExp][] = [
  ["what is not JSON", `${lines({ text: "a b" })}\n\n{"text": `, /line 3 is not JSON/],
  ["a chat without an answer", lines({ messages: [ask] }), /line 1 is none of/],
  ["messages that are none", lines({ text: "a b" }, { messages: [{ role: 1 }], answer: "x" }), /line 2 is none of/],
  ["an answer to nothing", lines({ messages: [{ role: "assistant", content: "x" }] }), /line 1 is none of/],
  ["a file without a text", "\n\n", /there is nothing to read in it: it is empty/],
];
for (const [what, content, message] of bad) {
  test(`${what} is refused, naming file and line`, async () => {
    await assert.rejects(
      read(".jsonl", content),
      (error) => error instanceof InvalidFile && message.test(error.message) && error.message.includes(folder),
    );
  });
}

test("a template that refuses, cannot, or is missing names the line", async () => {
  const chats = lines({ text: "a b c" }, { messages: [ask], answer: "x" });
  const cases: [string | undefined, RegExp][] = [
    ["{{ raise_exception('Begin with a system message.') }}", /line 2 .*Begin with a system message/],
    ["{% if add_generation_prompt %}ask{% else %}answered{% endif %}", /line 2 .*does not show its answer/],
    [undefined, /line 2 .*chat template of models\/tiny\/base is missing/],
  ];
  for (const [template, message] of cases)
    await assert.rejects(read(".jsonl", chats, {}, formatWith(template)), { name: "InvalidFile", message });
});

test("other files are refused by name, and missing ones too", async () => {
  await assert.rejects(readTextSet("package.json", format, { contextLength: 9 }), /not "\.json"/);
  await assert.rejects(readTextSet("none.txt", format, { contextLength: 9 }), InvalidFile);
});

test("a tokenizer with words that the model lacks is refused", () => {
  const configJson = json("config.json");
  const text = { ...tinyFiles, chatTemplate: undefined };
  assert.throws(
    () => new TextFormat({ path: base, text, configJson, config: { vocabSize: 4000 } }),
    (error) =>
      error instanceof InvalidFile && /its tokenizer has \d+ tokens, its embedding 4000 rows/.test(error.message),
  );
});
