import assert from "node:assert/strict";
import { test } from "node:test";
import type OpenAI from "openai";
import { ordinary } from "../core/index.js";
import { chunksOf, jsonOf, says, serve } from "./scripted-completer.test.kit.js";

type Whole = OpenAI.ChatCompletion;
type Chunk = OpenAI.ChatCompletionChunk;

const messages = [{ role: "user", content: "Hi" }];
const usage = {
  prompt_tokens: 5,
  completion_tokens: 2,
  total_tokens: 7,
  prompt_tokens_details: { cached_tokens: 3 },
};

/** The fields that every answer invents, checked for form and taken off. */
function withoutHead(answer: Whole | Chunk, object: string): object {
  const { id, created, model, system_fingerprint, object: kind, ...rest } = answer;
  assert.match(id, /^chatcmpl-[0-9a-f]{32}$/);
  assert.ok(Math.abs(created - Date.now() / 1000) < 60 && Number.isInteger(created));
  assert.match(String(system_fingerprint), /^fp_[0-9a-f]{10}$/);
  assert.equal(model, "base");
  assert.equal(kind, object);
  return rest;
}

test("a whole answer has OpenAI's shape to the letter", async (t) => {
  const { post, completer } = await serve(t, says("Hel", "lo"));
  const response = await post("/chat/completions", { model: "base", messages });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "application/json; charset=utf-8");
  assert.deepEqual(withoutHead(await jsonOf<Whole>(response), "chat.completion"), {
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: "Hello", refusal: null },
        logprobs: null,
        finish_reason: "stop",
      },
    ],
    usage,
  });
  const asked = {
    model: "base",
    prompt: { kind: "chat", messages },
    sampling: {},
    maxTokens: null,
    minTokens: 0,
    stop: [],
  };
  assert.deepEqual(completer.requests, [{ ...asked, topLogprobs: null, standing: ordinary }]);
});

test("a streamed answer says role, text and reason in this order, then [DONE]", async (t) => {
  const { post } = await serve(t, says("Hel", "", "lo"));
  const response = await post("/chat/completions", { model: "base", messages, stream: true });
  assert.equal(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
  assert.equal(response.headers.get("cache-control"), "no-cache");
  assert.equal(response.headers.get("x-accel-buffering"), "no");
  assert.match(response.headers.get("x-request-id") ?? "", /^req_/);

  const chunks = await chunksOf<Chunk>(response);
  const choice = { index: 0, logprobs: null, finish_reason: null };
  assert.deepEqual(
    chunks.map((chunk) => withoutHead(chunk, "chat.completion.chunk")),
    [
      { choices: [{ ...choice, delta: { role: "assistant", content: "" } }] },
      { choices: [{ ...choice, delta: { content: "Hel" } }] },
      { choices: [{ ...choice, delta: { content: "lo" } }] },
      { choices: [{ ...choice, delta: {}, finish_reason: "stop" }] },
    ],
  );
  assert.equal(new Set(chunks.map(({ id, created }) => `${id} ${created}`)).size, 1);
});

test("usage comes in a chunk of its own, and is null before it, when asked for", async (t) => {
  const { post } = await serve(t, says("Hel", "lo"));
  const body = { model: "base", messages, stream: true, stream_options: { include_usage: true } };
  const chunks = await chunksOf<Chunk>(await post("/chat/completions", body));
  assert.deepEqual(
    chunks.map((chunk) => chunk.usage),
    [null, null, null, null, usage],
  );
  assert.deepEqual(chunks[4]?.choices, []);
});

test("log probabilities carry bytes and alternatives, and an impossible token is -9999", async (t) => {
  const { post } = await serve(t, says("Hé", "?"));
  const body = { model: "base", messages, logprobs: true, top_logprobs: 2 };
  const rival = { token: "?", logprob: -9999, bytes: [63] };
  const first = { token: "Hé", logprob: -0.25, bytes: [72, 195, 169] };
  const second = { token: "?", logprob: -0.25, bytes: [63] };
  const content = [
    { ...first, top_logprobs: [first, rival] },
    { ...second, top_logprobs: [second, rival] },
  ];

  const whole = await jsonOf<Whole>(await post("/chat/completions", body));
  assert.deepEqual(whole.choices[0]?.logprobs, { content, refusal: null });

  const chunks = await chunksOf<Chunk>(await post("/chat/completions", { ...body, stream: true }));
  assert.deepEqual(
    chunks.map((chunk) => chunk.choices[0]?.logprobs),
    [null, { content: [content[0]], refusal: null }, { content: [content[1]], refusal: null }, null],
  );
});

test("each of n choices is a completion with a seed of its own, and the prompt counts once", async (t) => {
  const { post, completer } = await serve(t, async function* (request, signal) {
    yield* says(`seed ${request.sampling.seed}`)(request, signal);
  });
  const body = { model: "base", messages, n: 3, seed: 40 };
  const whole = await jsonOf<Whole>(await post("/chat/completions", body));
  assert.deepEqual(
    whole.choices.map((choice) => [choice.index, choice.message.content]),
    [
      [0, "seed 40"],
      [1, "seed 41"],
      [2, "seed 42"],
    ],
  );
  assert.deepEqual(whole.usage, { ...usage, completion_tokens: 3, total_tokens: 8 });

  const chunks = await chunksOf<Chunk>(await post("/chat/completions", { ...body, stream: true }));
  for (const index of [0, 1, 2]) {
    const ofChoice = chunks.flatMap(({ choices }) => choices).filter((choice) => choice.index === index);
    assert.deepEqual(
      ofChoice.map(({ delta, finish_reason }) => [delta, finish_reason]),
      [
        [{ role: "assistant", content: "" }, null],
        [{ content: `seed ${40 + index}` }, null],
        [{}, "stop"],
      ],
    );
  }
  assert.equal(completer.closed, 6);
});
