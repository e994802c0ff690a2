import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidRequest } from "../core/index.js";
import { type Order, parseChatOrder, parseTextOrder } from "./parse.js";

const chat = (fields: object): Order =>
  parseChatOrder({ model: "m", messages: [{ role: "user", content: "Hi" }], ...fields });
const text = (fields: object): Order => parseTextOrder({ model: "m", prompt: "Hi", ...fields });

type Case = readonly [fields: object, param: string | null, code?: string];

const bothRefuse: readonly Case[] = [
  [{ model: undefined }, "model", "missing_required_parameter"],
  [{ model: "" }, "model"],
  [{ model: 7 }, "model"],
  [{ temperature: -0.1 }, "temperature"],
  [{ temperature: 2.1 }, "temperature"],
  [{ temperature: "1" }, "temperature"],
  [{ top_p: 1.01 }, "top_p"],
  [{ top_p: -1 }, "top_p"],
  [{ top_k: -2 }, "top_k"],
  [{ top_k: 1.5 }, "top_k"],
  [{ min_p: 1.1 }, "min_p"],
  [{ presence_penalty: 2.5 }, "presence_penalty"],
  [{ frequency_penalty: -2.5 }, "frequency_penalty"],
  [{ repetition_penalty: 0 }, "repetition_penalty"],
  [{ seed: 1.5 }, "seed"],
  [{ seed: 1e30 }, "seed"],
  [{ seed: "1" }, "seed"],
  [{ n: 0 }, "n"],
  [{ n: 9 }, "n"],
  [{ n: 1.5 }, "n"],
  [{ max_tokens: 0 }, "max_tokens"],
  [{ max_tokens: "9" }, "max_tokens"],
  [{ max_completion_tokens: -1 }, "max_completion_tokens"],
  [{ priority: 1.5 }, "priority"],
  [{ priority: "high" }, "priority"],
  [{ priority: 2 ** 31 }, "priority"],
  [{ timeout: 0 }, "timeout"],
  [{ timeout: -1 }, "timeout"],
  [{ timeout: 86_401 }, "timeout"],
  [{ timeout: "5" }, "timeout"],
  [{ stop: 7 }, "stop"],
  [{ stop: "" }, "stop"],
  [{ stop: ["a", ""] }, "stop"],
  [{ stop: ["a", "b", "c", "d", "e"] }, "stop"],
  [{ stop: ["a", null] }, "stop"],
  [{ logit_bias: [1] }, "logit_bias"],
  [{ logit_bias: { hello: 1 } }, "logit_bias"],
  [{ logit_bias: { "-1": 1 } }, "logit_bias"],
  [{ logit_bias: { "1": 101 } }, "logit_bias.1"],
  [{ logit_bias: { "1": null } }, "logit_bias.1", "missing_required_parameter"],
  [{ stream: "yes" }, "stream"],
  [{ stream_options: { include_usage: true } }, "stream_options"],
  [{ stream: true, stream_options: [] }, "stream_options"],
  [{ stream: true, stream_options: { include_usage: 1 } }, "stream_options.include_usage"],
  [
    { stream: true, stream_options: { continuous_usage_stats: true } },
    "stream_options.continuous_usage_stats",
    "unsupported_parameter",
  ],
  [{ ignore_eos: "yes" }, "ignore_eos"],
  [{ min_tokens: -1 }, "min_tokens"],
  [{ min_tokens: 4, max_tokens: 3 }, "min_tokens"],
  [{ guided_json: {} }, "guided_json", "unsupported_parameter"],
];

const chatRefuses: readonly Case[] = [
  [{ messages: undefined }, "messages", "missing_required_parameter"],
  [{ messages: [] }, "messages"],
  [{ messages: "Hi" }, "messages"],
  [{ messages: ["Hi"] }, "messages[0]"],
  [{ messages: [{ content: "Hi" }] }, "messages[0].role", "missing_required_parameter"],
  [{ messages: [{ role: "robot", content: "Hi" }] }, "messages[0].role"],
  [{ messages: [{ role: "tool", content: "Hi" }] }, "messages[0].role", "unsupported_parameter"],
  [{ messages: [{ role: "user" }] }, "messages[0].content", "missing_required_parameter"],
  [{ messages: [{ role: "user", content: 7 }] }, "messages[0].content"],
  [{ messages: [{ role: "user", content: [] }] }, "messages[0].content"],
  [{ messages: [{ role: "user", content: ["Hi"] }] }, "messages[0].content[0]"],
  [{ messages: [{ role: "user", content: [{}] }] }, "messages[0].content[0].type", "missing_required_parameter"],
  [
    { messages: [{ role: "user", content: [{ type: "text" }] }] },
    "messages[0].content[0].text",
    "missing_required_parameter",
  ],
  [{ messages: [{ role: "user", content: [{ type: "text", text: 1 }] }] }, "messages[0].content[0].text"],
  [
    { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] },
    "messages[0].content[0].type",
    "unsupported_parameter",
  ],
  [
    { messages: [{ role: "assistant", content: null, tool_calls: [{ id: "1" }] }] },
    "messages[0].tool_calls",
    "unsupported_parameter",
  ],
  [{ logprobs: 3 }, "logprobs"],
  [{ logprobs: true, top_logprobs: 21 }, "top_logprobs"],
  [{ logprobs: true, top_logprobs: -1 }, "top_logprobs"],
  [{ top_logprobs: 2 }, "top_logprobs"],
  [{ logprobs: false, top_logprobs: 2 }, "top_logprobs"],
  [{ tools: [{ type: "function", function: { name: "f" } }] }, "tools", "unsupported_parameter"],
  [{ tool_choice: "required" }, "tool_choice", "unsupported_parameter"],
  [{ tool_choice: { type: "function", function: { name: "f" } } }, "tool_choice", "unsupported_parameter"],
  [{ functions: [{ name: "f" }] }, "functions", "unsupported_parameter"],
  [{ function_call: { name: "f" } }, "function_call", "unsupported_parameter"],
  [{ response_format: { type: "json_object" } }, "response_format", "unsupported_parameter"],
  [{ response_format: { type: "json_schema", json_schema: {} } }, "response_format", "unsupported_parameter"],
  [{ modalities: ["text", "audio"] }, "modalities", "unsupported_parameter"],
  [{ audio: { voice: "alloy" } }, "audio", "unsupported_parameter"],
  [{ prediction: { type: "content", content: "x" } }, "prediction", "unsupported_parameter"],
  [{ reasoning_effort: "high" }, "reasoning_effort", "unsupported_parameter"],
  [{ verbosity: "low" }, "verbosity", "unsupported_parameter"],
  [{ web_search_options: {} }, "web_search_options", "unsupported_parameter"],
  [{ chat_template: "{{ x }}" }, "chat_template", "unsupported_parameter"],
];

const textRefuses: readonly Case[] = [
  [{ prompt: undefined }, "prompt", "missing_required_parameter"],
  [{ prompt: [] }, "prompt"],
  [{ prompt: 7 }, "prompt"],
  [{ prompt: ["a", 7] }, "prompt[1]"],
  [{ prompt: [1, "a"] }, "prompt[0]"],
  [{ prompt: [1, -1] }, "prompt[0]"],
  [{ prompt: [1.5] }, "prompt[0]"],
  [{ prompt: [[1], []] }, "prompt[1]"],
  [{ prompt: [[1], [-1]] }, "prompt[1]"],
  [{ prompt: Array.from({ length: 17 }, () => "a"), n: 8 }, "prompt"],
  [{ logprobs: 6 }, "logprobs"],
  [{ logprobs: true }, "logprobs"],
  [{ suffix: "end" }, "suffix", "unsupported_parameter"],
  [{ echo: true }, "echo", "unsupported_parameter"],
  [{ best_of: 2 }, "best_of", "unsupported_parameter"],
];

for (const [api, parse, cases] of [
  ["chat", chat, [...bothRefuse, ...chatRefuses]],
  ["text", text, [...bothRefuse, ...textRefuses]],
] as const) {
  for (const [fields, param, code = "invalid_value"] of cases) {
    test(`a ${api} completion with ${JSON.stringify(fields).slice(0, 90)} is refused, naming ${param}`, () => {
      assert.throws(
        () => parse(fields),
        (error) => {
          assert.ok(error instanceof InvalidRequest);
          assert.deepEqual([error.param, error.code, error.status], [param, code, 400]);
          assert.ok(param !== null && error.message.includes(param), error.message);
          return true;
        },
      );
    });
  }
}

for (const body of [undefined, null, "text", [], 7]) {
  test(`a body that is ${JSON.stringify(body)} is refused`, () => {
    assert.throws(() => parseChatOrder(body), { code: "invalid_value", param: null });
    assert.throws(() => parseTextOrder(body), { code: "invalid_value", param: null });
  });
}

test("every sampling field reaches the completion under our name", () => {
  const fields = {
    temperature: 0.5,
    top_p: 0.9,
    top_k: 40,
    min_p: 0.05,
    presence_penalty: 1,
    frequency_penalty: -1,
    repetition_penalty: 1.1,
    logit_bias: { "5": 10, "7": -100 },
    seed: 3,
    stop: ["\n", "END"],
    max_tokens: 9,
  };
  for (const order of [chat(fields), text(fields)]) {
    const [completion] = order.completions;
    assert.deepEqual(completion?.sampling, {
      temperature: 0.5,
      topP: 0.9,
      topK: 40,
      minP: 0.05,
      presencePenalty: 1,
      frequencyPenalty: -1,
      repetitionPenalty: 1.1,
      logitBias: [
        [5, 10],
        [7, -100],
      ],
      seed: 3,
    });
    assert.deepEqual([completion?.stop, completion?.maxTokens], [["\n", "END"], 9]);
  }
});

test("the ends of every range are taken", () => {
  const ends = { temperature: 0, top_p: 0, presence_penalty: -2, frequency_penalty: 2, logit_bias: { "0": 100 }, n: 8 };
  assert.equal(chat({ ...ends, logprobs: true, top_logprobs: 20 }).completions[7]?.topLogprobs, 20);
  assert.equal(text({ ...ends, temperature: 2, top_p: 1, n: 1, logprobs: 5 }).completions[0]?.topLogprobs, 5);
  assert.equal(text({ prompt: Array.from({ length: 16 }, () => "a"), n: 8 }).completions.length, 128);
});

test("null is absent, unknown fields and values that ask for nothing are ignored", () => {
  const plain = chat({});
  const nulls = Object.fromEntries(
    ["temperature", "n", "stop", "seed", "max_tokens", "logprobs", "stream", "tools", "audio"].map((name) => [
      name,
      null,
    ]),
  );
  assert.deepEqual(chat(nulls), plain);
  assert.deepEqual(
    chat({
      user: "me",
      metadata: { a: "b" },
      chat_id: 7,
      tools: [],
      tool_choice: "none",
      response_format: { type: "text" },
      modalities: ["text"],
      reasoning_effort: "none",
      stop: [],
    }),
    plain,
  );
  assert.deepEqual(text({ echo: false, best_of: 1, suffix: "" }), text({}));
});

test("priority and timeout say where a request stands, by default in the middle and with time", () => {
  for (const order of [chat({ priority: -3, timeout: 2.5 }), text({ priority: -3, timeout: 2.5 })]) {
    assert.deepEqual([order.priority, order.timeoutMs], [-3, 2500]);
  }
  assert.deepEqual([chat({}).priority, chat({}).timeoutMs], [0, null]);
});

test("min_tokens holds the end of an answer back, ignore_eos for good", () => {
  const minTokens = (fields: object) => [chat(fields), text(fields)].map((order) => order.completions[0]?.minTokens);
  assert.deepEqual(minTokens({}), [0, 0]);
  assert.deepEqual(minTokens({ min_tokens: 7, ignore_eos: false }), [7, 7]);
  assert.deepEqual(minTokens({ min_tokens: 7, ignore_eos: true }), [Infinity, Infinity]);
});

test("max_completion_tokens wins over max_tokens", () => {
  assert.equal(chat({ max_tokens: 5, max_completion_tokens: 7 }).completions[0]?.maxTokens, 7);
});

test("a chat has no limit by default, a text completion 16 tokens, also for null", () => {
  assert.equal(chat({ max_tokens: null }).completions[0]?.maxTokens, null);
  assert.equal(text({ max_tokens: null }).completions[0]?.maxTokens, 16);
});

test("text parts are joined and a developer speaks as the system", () => {
  const order = chat({
    messages: [
      { role: "developer", content: "Be brief" },
      {
        role: "user",
        name: "ann",
        content: [
          { type: "text", text: "a" },
          { type: "text", text: "b" },
        ],
      },
    ],
  });
  assert.deepEqual(order.completions[0]?.prompt, {
    kind: "chat",
    messages: [
      { role: "system", content: "Be brief" },
      { role: "user", content: "ab" },
    ],
  });
});

test("top_k -1 keeps all, as 0 does", () => {
  assert.equal(chat({ top_k: -1 }).completions[0]?.sampling.topK, 0);
});

test("seeds of choices differ even at the end of the 64-bit range, and no seed stays none", () => {
  const seedsOf = (order: Order) => order.completions.map(({ sampling }) => sampling.seed);
  assert.deepEqual(seedsOf(chat({ n: 3, seed: 7 })), [7, 8, 9]);
  assert.equal(new Set(seedsOf(chat({ n: 8, seed: 2 ** 63 - 1024 }))).size, 8);
  assert.deepEqual(seedsOf(chat({ n: 2 })), [undefined, undefined]);
  assert.deepEqual(seedsOf(text({ prompt: ["a", "b"], n: 2, seed: 7 })), [7, 8, 7, 8]);
});

test("a whole answer with logprobs but no alternatives asks for none", () => {
  assert.equal(chat({ logprobs: true }).completions[0]?.topLogprobs, 0);
  assert.equal(text({ logprobs: 0 }).completions[0]?.topLogprobs, 0);
  assert.equal(chat({ logprobs: false }).completions[0]?.topLogprobs, null);
});
