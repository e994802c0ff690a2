import assert from "node:assert/strict";
import { test } from "node:test";
import type OpenAI from "openai";
import { chunksOf, finished, jsonOf, report, says, serve, started } from "./scripted-completer.test.kit.js";

test("a whole answer has OpenAI's shape to the letter, and 16 tokens are the default limit", async (t) => {
  const { post, completer } = await serve(t, says("once", " upon"));
  const response = await post("/completions", { model: "base", prompt: "Tell: " });
  const { id, created, ...rest } = await jsonOf<OpenAI.Completion>(response);
  assert.match(id, /^cmpl-[0-9a-f]{32}$/);
  assert.ok(Number.isInteger(created));
  assert.match(rest.system_fingerprint ?? "", /^fp_/);
  assert.deepEqual(rest, {
    object: "text_completion",
    model: "base",
    system_fingerprint: rest.system_fingerprint,
    choices: [{ index: 0, text: "once upon", logprobs: null, finish_reason: "stop" }],
    usage: { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7, prompt_tokens_details: { cached_tokens: 3 } },
  });
  assert.equal(completer.requests[0]?.maxTokens, 16);
  assert.deepEqual(completer.requests[0]?.prompt, { kind: "text", text: "Tell: " });
});

test("a streamed answer has text chunks, a reason and [DONE]", async (t) => {
  const { post } = await serve(t, says("once", " upon"));
  const body = { model: "base", prompt: "Tell", stream: true, stream_options: { include_usage: true } };
  const chunks = await chunksOf<OpenAI.Completion>(await post("/completions", body));
  assert.deepEqual(
    chunks.map(({ object, choices }) => [object, choices]),
    [
      ["text_completion", [{ index: 0, text: "once", logprobs: null, finish_reason: null }]],
      ["text_completion", [{ index: 0, text: " upon", logprobs: null, finish_reason: null }]],
      ["text_completion", [{ index: 0, text: "", logprobs: null, finish_reason: "stop" }]],
      ["text_completion", []],
    ],
  );
  assert.deepEqual(
    chunks.map(({ usage }) => usage === null),
    [true, true, true, false],
  );
});

test("prompts of every kind become completions, prompt by prompt", async (t) => {
  const { post, completer } = await serve(t, says("."));
  const texts = await jsonOf<OpenAI.Completion>(
    await post("/completions", { model: "base", prompt: ["a", "b"], n: 2 }),
  );
  assert.equal(texts.choices.length, 4);
  assert.deepEqual([texts.usage?.prompt_tokens, texts.usage?.completion_tokens], [10, 4]);
  await post("/completions", { model: "base", prompt: [1, 2] });
  await post("/completions", { model: "base", prompt: [[3], [4, 5]] });
  assert.deepEqual(
    completer.requests.map(({ prompt }) => prompt),
    [
      { kind: "text", text: "a" },
      { kind: "text", text: "a" },
      { kind: "text", text: "b" },
      { kind: "text", text: "b" },
      { kind: "tokens", tokens: [1, 2] },
      { kind: "tokens", tokens: [3] },
      { kind: "tokens", tokens: [4, 5] },
    ],
  );
});

test("log probabilities name tokens and say where in the text each begins, whole or streamed", async (t) => {
  // "🙂" is F0 9F 99 82, here in two tokens.
  const half = (bytes: number[]) => ({ ...report("\ufffd", 1), bytes, top: [] });
  const { post } = await serve(t, async function* () {
    yield started;
    yield { type: "text", text: "é", reports: [report("é", 1)] };
    yield { type: "text", text: "🙂", reports: [half([0xf0, 0x9f]), half([0x99, 0x82])] };
    yield { type: "text", text: " x", reports: [report(" x", 2)] };
    yield finished(4);
  });
  const body = { model: "base", prompt: "p", logprobs: 2 };
  const expected = {
    tokens: ["é", "bytes:\\xf0\\x9f", "bytes:\\x99\\x82", " x"],
    token_logprobs: [-0.25, -0.25, -0.25, -0.25],
    top_logprobs: [
      { é: -0.25 },
      { "bytes:\\xf0\\x9f": -0.25 },
      { "bytes:\\x99\\x82": -0.25 },
      { " x": -0.25, "?": -9999 },
    ],
    text_offset: [0, 1, 1, 2],
  };
  const whole = await jsonOf<OpenAI.Completion>(await post("/completions", body));
  assert.deepEqual(whole.choices[0]?.logprobs, expected);

  const chunks = await chunksOf<OpenAI.Completion>(await post("/completions", { ...body, stream: true }));
  const offsets = chunks.map(({ choices }) => choices[0]?.logprobs?.text_offset);
  assert.deepEqual(offsets, [[0], [1, 1], [2], undefined]);
});

test("logprobs: 0 reports the tokens themselves", async (t) => {
  const { post } = await serve(t, says("a"));
  const { choices } = await jsonOf<OpenAI.Completion>(
    await post("/completions", { model: "base", prompt: "p", logprobs: 0 }),
  );
  assert.deepEqual(choices[0]?.logprobs, {
    tokens: ["a"],
    token_logprobs: [-0.25],
    top_logprobs: [{ a: -0.25 }],
    text_offset: [0],
  });
});
