import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { ModelNotFound, Overloaded } from "../core/index.js";
import { cards, says, serve, started, text } from "./scripted-completer.test.kit.js";

const hello = { model: "base", messages: [{ role: "user" as const, content: "Hi" }] };

test("OpenAI's client completes chats, whole and streamed", async (t) => {
  const { client } = await serve(t, says("Hel", "lo"));
  const whole = await client.chat.completions.create(hello);
  assert.equal(whole.choices[0]?.message.content, "Hello");
  assert.equal(whole.usage?.prompt_tokens_details?.cached_tokens, 3);
  assert.match(whole._request_id ?? "", /^req_/);

  let streamed = "";
  const stream = await client.chat.completions.create({
    ...hello,
    stream: true,
    stream_options: { include_usage: true },
  });
  for await (const chunk of stream) {
    streamed += chunk.choices[0]?.delta.content ?? `|${chunk.choices[0]?.finish_reason ?? chunk.usage?.total_tokens}`;
  }
  assert.equal(streamed, "Hello|stop|7");
});

test("its stream helper gathers all choices with log probabilities and usage", async (t) => {
  const { client } = await serve(t, says("Hel", "lo"));
  const runner = client.chat.completions.stream({
    ...hello,
    n: 2,
    logprobs: true,
    top_logprobs: 1,
    stream_options: { include_usage: true },
  });
  const final = await runner.finalChatCompletion();
  assert.deepEqual(
    final.choices.map(({ index, message, finish_reason }) => [index, message.content, finish_reason]),
    [
      [0, "Hello", "stop"],
      [1, "Hello", "stop"],
    ],
  );
  const [first] = final.choices;
  assert.deepEqual(
    first?.logprobs?.content?.map(({ token, top_logprobs }) => [token, top_logprobs.length]),
    [
      ["Hel", 1],
      ["lo", 1],
    ],
  );
  assert.equal(final.usage?.completion_tokens, 4);
});

test("it completes texts, whole and streamed", async (t) => {
  const { client } = await serve(t, says("once", " upon"));
  const whole = await client.completions.create({ model: "base", prompt: ["a", "b"], logprobs: 1 });
  assert.deepEqual(
    whole.choices.map((choice) => choice.text),
    ["once upon", "once upon"],
  );
  assert.deepEqual(whole.choices[1]?.logprobs?.text_offset, [0, 4]);

  let streamed = "";
  for await (const chunk of await client.completions.create({ model: "base", prompt: [1, 2], stream: true })) {
    streamed += chunk.choices[0]?.text;
  }
  assert.equal(streamed, "once upon");
});

test("it lists models and finds one whose name has a slash", async (t) => {
  const { client } = await serve(t, says());
  const names: string[] = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.deepEqual(
    names,
    cards.map(({ id }) => id),
  );
  assert.equal((await client.models.retrieve("org/support-fr")).owned_by, "kindred");
});

test("its error classes fit what went wrong", async (t) => {
  const failures = [new ModelNotFound("base"), new Overloaded("The queue is full", 1), new Error("inside")];
  const { client, url } = await serve(
    t,
    // biome-ignore lint/correctness/useYield: this completion fails before it says anything.
    async function* () {
      throw failures.shift();
    },
    { apiKeys: ["sk-right"] },
  );
  const create = () => client.chat.completions.create(hello);
  await assert.rejects(create(), (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found");
  await assert.rejects(create(), OpenAI.RateLimitError);
  await assert.rejects(create(), OpenAI.InternalServerError);
  await assert.rejects(client.chat.completions.create({ ...hello, temperature: 9 }), (error) => {
    return (
      error instanceof OpenAI.BadRequestError && error.param === "temperature" && error.type === "invalid_request_error"
    );
  });
  const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: "sk-wrong", maxRetries: 0 });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
});

test("it tries again when told that the server is overloaded", async (t) => {
  let calls = 0;
  const { client } = await serve(t, async function* (request, signal) {
    if (++calls === 1) throw new Overloaded("The queue is full", 1);
    yield* says("Hello")(request, signal);
  });
  const answer = await client.chat.completions.create(hello, { maxRetries: 1 });
  assert.equal(answer.choices[0]?.message.content, "Hello");
  assert.equal(calls, 2);
});

test("a failure in the middle of a stream is an APIError that comes after the text", async (t) => {
  const { client } = await serve(t, async function* () {
    yield started;
    yield text("Hel");
    throw new Overloaded("The engine was stopped", 1);
  });
  let received = "";
  await assert.rejects(
    async () => {
      for await (const chunk of await client.chat.completions.create({ ...hello, stream: true })) {
        received += chunk.choices[0]?.delta.content;
      }
    },
    (error) => error instanceof OpenAI.APIError && /engine was stopped/.test(error.message),
  );
  assert.equal(received, "Hel");
});
