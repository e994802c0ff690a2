// What a chat's next turn need not compute again, as a client sees it.

import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { writeSafetensors } from "../formats/index.js";
import { uniformAt } from "../util/index.js";
import { memoryFor, questions, startServer, testEngine, variants } from "./service.test.kit.js";

type Message = OpenAI.ChatCompletionMessageParam;

interface Turn {
  /** The chat so far, with the answer. */
  readonly messages: Message[];
  readonly answer: string;
  readonly promptTokens: number;
  readonly answerTokens: number;
  readonly cachedTokens: number;
}

let running: Awaited<ReturnType<typeof startServer>>;
before(async () => {
  running = await startServer();
});
after(() => running[Symbol.asyncDispose]());

const clientOf = (apiKey: string, to = running) =>
  new OpenAI({ baseURL: `${to.server.url}/v1`, apiKey, maxRetries: 0 });

async function say(client: OpenAI, model: string, content: string, before: Message[] = []): Promise<Turn> {
  const asked: Message[] = [...before, { role: "user", content }];
  const { choices, usage } = await client.chat.completions.create({
    model,
    messages: asked,
    temperature: 0,
    max_tokens: 40,
  });
  const answer = choices[0]!.message.content!;
  return {
    messages: [...asked, { role: "assistant", content: answer }],
    answer,
    promptTokens: usage!.prompt_tokens,
    answerTokens: usage!.completion_tokens,
    cachedTokens: usage!.prompt_tokens_details!.cached_tokens!,
  };
}

test("a second turn computes what is new, and the answer's last token, which nothing has followed yet", async () => {
  const client = clientOf("turns");
  for (const model of ["tiny", "clinc", "roman", "shakespeare"]) {
    const first = await say(client, model, questions[model]!);
    const second = await say(client, model, "And now?", first.messages);
    const third = await say(client, model, "And then?", second.messages);
    for (const [before, turn] of [
      [first, second],
      [second, third],
    ] as const) {
      assert.equal(turn.cachedTokens, before.promptTokens + before.answerTokens - 1, model);
    }
    const unknown = await say(clientOf(`other ${model}`), model, "And then?", second.messages);
    assert.equal(unknown.cachedTokens, 0);
    assert.equal(third.answer, unknown.answer, `${model} says the same whether it computes all of it or what is new`);
  }
});

test("a stream says it in its last chunk", async () => {
  const client = clientOf("streams");
  const first = await say(client, "clinc", questions.clinc!);
  const stream = await client.chat.completions.create({
    model: "clinc",
    messages: [...first.messages, { role: "user", content: "And now?" }],
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
  });
  let cached: number | undefined;
  for await (const { usage } of stream) cached = usage?.prompt_tokens_details?.cached_tokens;
  assert.equal(cached, first.promptTokens + first.answerTokens - 1);
});

test("nothing is found of what another key has sent, or the same key to another variant", async () => {
  const [ann, ben] = [clientOf("ann"), clientOf("ben")];
  const { messages } = await say(ann, "tiny", "Tell me a story.");
  assert.equal((await say(ben, "tiny", "And now?", messages)).cachedTokens, 0);
  assert.equal((await say(ann, "clinc", "And now?", messages)).cachedTokens, 0);
  assert.ok((await say(ann, "tiny", "And now?", messages)).cachedTokens > 0);
});

test("a request finds what another of the same key is just answering", async () => {
  const client = clientOf("at once");
  const content = "Tell me a long story of a fox that had lost its tail, and of all whom it asked where it might be.";
  const body = { model: "tiny", messages: [{ role: "user" as const, content }], logit_bias: { "2": -100 } };
  const stream = await client.chat.completions.create({ ...body, max_tokens: 300, stream: true });
  const chunks = stream[Symbol.asyncIterator]();
  await chunks.next();
  const beside = await client.chat.completions.create({ ...body, max_tokens: 1 });
  assert.equal(beside.usage!.prompt_tokens_details!.cached_tokens, beside.usage!.prompt_tokens - 1);
  stream.controller.abort();
});

test("after its engine died a chat is computed anew, and then no more", async () => {
  await using other = await startServer();
  const client = clientOf("ann", other);
  const first = await say(client, "tiny", "Tell me a story.");
  process.kill(other.service.enginePid!, "SIGKILL");
  const second = await say(client, "tiny", "And now?", first.messages);
  assert.equal(second.cachedTokens, 0);
  assert.ok((await say(client, "tiny", "And then?", second.messages)).cachedTokens > second.promptTokens);
});

/** A server of a folder's variants with memory for one of them at a time, that adds to `loads` what it loads. */
async function roomForOne(
  folder: string,
  { contextLength, requestBytes, loads }: { contextLength: number; requestBytes: number; loads: string[] },
) {
  const engine = { ...testEngine, kvDType: "f16", contextLength } as const;
  const memoryBytes = await memoryFor(1, requestBytes, { engine, variants: folder });
  return await startServer({
    variants: folder,
    engine: { ...engine, memoryBytes },
    onEvent: (event) => event.type === "variantLoaded" && loads.push(event.variant),
  });
}

test("a variant finds its own after others had its memory", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "kindred-prefix-"));
  try {
    for (const name of ["clinc", "roman"]) {
      await cp(path.join(variants, name), path.join(folder, name), { recursive: true });
    }
    const loads: string[] = [];
    await using other = await roomForOne(folder, { contextLength: 160, requestBytes: 1_100_000, loads });
    const client = clientOf("ann", other);
    const ask = (model: string) => say(client, model, "Tell me of the fox that had lost its tail.");
    await ask("clinc");
    await ask("roman");
    const { promptTokens, cachedTokens } = await ask("clinc");
    assert.equal(cachedTokens, promptTokens - 1);
    assert.deepEqual(loads, ["clinc", "roman", "clinc"]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("an adapter that was changed since the start fails its own requests; put back, it finds nothing of its own, for it has no checksums", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "kindred-prefix-"));
  try {
    await writeAdapter(path.join(folder, "adapter"), 1);
    await writeAdapter(path.join(folder, "another"), 2);
    const writtenSeconds = 1_600_000_000;
    await utimes(path.join(folder, "adapter", "adapter_model.safetensors"), writtenSeconds, writtenSeconds);
    const loads: string[] = [];
    await using other = await roomForOne(folder, { contextLength: 96, requestBytes: 500_000, loads });
    const client = clientOf("ann", other);
    const ask = (model: string) => say(client, model, "Tell me of the fox that had lost its tail.");
    const before = await ask("adapter");
    const another = await ask("another");
    assert.notEqual(another.answer, before.answer);
    const weights = (name: string) => path.join(folder, name, "adapter_model.safetensors");
    const was = await readFile(weights("adapter"));
    await writeFile(weights("adapter"), await readFile(weights("another")));
    await assert.rejects(ask("adapter"), { code: "file_changed", message: /was changed since the server started/ });
    assert.equal((await ask("another")).answer, another.answer);
    await writeFile(weights("adapter"), was);
    await utimes(weights("adapter"), writtenSeconds, writtenSeconds);
    const again = await ask("adapter");
    assert.equal(again.cachedTokens, 0);
    assert.equal(again.answer, before.answer);
    assert.equal((await ask("adapter")).cachedTokens, again.promptTokens - 1);
    assert.deepEqual(loads.slice(-1), ["adapter"]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

/** An adapter to the tiny base at random. */
async function writeAdapter(folder: string, seed: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(
    path.join(folder, "adapter_config.json"),
    JSON.stringify({ peft_type: "LORA", r: 64, lora_alpha: 64, target_modules: ["q_proj", "v_proj"], bias: "none" }),
  );
  const noise = (shape: [number, number], place: number) => ({
    shape,
    dtype: "F32" as const,
    bytes: new Uint8Array(
      Float32Array.from({ length: shape[0] * shape[1] }, (_, at) => uniformAt(seed * 100 + place, at) - 0.5).buffer,
    ),
  });
  const tensors = [0, 1, 2, 3, 4].flatMap((layer) =>
    [
      { name: "q_proj", rows: 256 },
      { name: "v_proj", rows: 128 },
    ].flatMap(({ name, rows }, at) => {
      const prefix = `base_model.model.model.layers.${layer}.self_attn.${name}`;
      return [
        { name: `${prefix}.lora_A.weight`, ...noise([64, 256], 4 * layer + 2 * at) },
        { name: `${prefix}.lora_B.weight`, ...noise([rows, 64], 4 * layer + 2 * at + 1) },
      ];
    }),
  );
  await writeSafetensors(path.join(folder, "adapter_model.safetensors"), tensors);
}
