import assert from "node:assert/strict";
import { cp, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI from "openai";
import { compressDelta, createCodec, restoreCheckpoint } from "../delta/index.js";
import { openCheckpoint, openDelta } from "../formats/index.js";
import { uniformAt } from "../util/index.js";
import { base, memoryFor, questions, startServer, testEngine, variants } from "./service.test.kit.js";

describe("the embedded family, served", () => {
  let running: Awaited<ReturnType<typeof startServer>>;
  before(async () => {
    running = await startServer();
  });
  after(() => running[Symbol.asyncDispose]());

  test("lists the base and its variants with their parent", async () => {
    const models = (await running.client.models.list()).data as (OpenAI.Model & { parent: string | null })[];
    assert.deepEqual(models.map(({ id }) => id).sort(), Object.keys(questions).sort());
    assert.equal(models.find(({ id }) => id === "tiny")?.parent, null);
    assert.equal(models.find(({ id }) => id === "roman")?.parent, "tiny");
  });

  test("answers each variant's kind of question as its fine-tune does", async () => {
    const expected = {
      banking77: "card arrival",
      clinc: "balance",
      dates: "1987-05-03",
      roman: "M C M L X X X V I I",
      scan: "left walk left walk jump",
      wikisql: "select score where opponent = france",
    };
    for (const [model, answer] of Object.entries(expected))
      assert.equal(await running.ask(model, questions[model]!), answer);
  });

  test("gives eight requests in one batch the texts they get alone, greedy and seeded", async () => {
    for (const sampling of [{ temperature: 0 }, { temperature: 0.8, top_p: 0.95, seed: 7 }]) {
      const alone: string[] = [];
      for (const [model, question] of Object.entries(questions))
        alone.push(await running.ask(model, question, sampling));
      const together = await Promise.all(
        Object.entries(questions).map(([model, question]) => running.ask(model, question, sampling)),
      );
      assert.deepEqual(together, alone);
    }
  });

  test("draws the same text for the same seed and another for another", async () => {
    const draw = (seed: number) => running.ask("tiny", "Tell me a story.", { temperature: 1, seed });
    assert.equal(await draw(1), await draw(1));
    assert.notEqual(await draw(1), await draw(2));
  });

  test("streams what it answers at once", async () => {
    const body = {
      model: "tiny",
      messages: [{ role: "user" as const, content: "Tell me a story." }],
      temperature: 0,
      max_tokens: 32,
    };
    const whole = await running.client.chat.completions.create(body);
    const stream = await running.client.chat.completions.create({
      ...body,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage;
    }
    assert.equal(text, whole.choices[0]?.message.content);
    assert.equal(usage?.prompt_tokens, whole.usage?.prompt_tokens);
    assert.equal(usage?.completion_tokens, 32);
    assert.equal(whole.choices[0]?.finish_reason, "length");
  });

  test("ends before a stop string", async () => {
    const whole = await running.ask("roman", "1987");
    assert.equal(await running.ask("roman", "1987", { stop: ["X X"] }), whole.slice(0, whole.indexOf("X X")));
  });

  test("goes on to the limit where the model would have ended, and to the least length where that is shorter", async () => {
    const create = async (more: object) => {
      const messages = [{ role: "user" as const, content: questions.roman! }];
      const answer = await running.client.chat.completions.create({
        model: "roman",
        messages,
        temperature: 0,
        ...more,
      });
      return { reason: answer.choices[0]!.finish_reason, tokens: answer.usage!.completion_tokens };
    };
    const own = await create({ max_tokens: 40 });
    assert.equal(own.reason, "stop");
    assert.deepEqual(await create({ max_tokens: 40, ignore_eos: true }), { reason: "length", tokens: 40 });
    const longer = await create({ max_tokens: 200, min_tokens: own.tokens + 3 });
    assert.ok(longer.tokens >= own.tokens + 3, `${longer.tokens} tokens`);
  });

  test("reports log probabilities that are those of the distribution", async () => {
    const { choices } = await running.client.chat.completions.create({
      model: "clinc",
      messages: [{ role: "user", content: questions.clinc! }],
      temperature: 0,
      logprobs: true,
      top_logprobs: 5,
    });
    const tokens = choices[0]!.logprobs!.content!;
    assert.equal(tokens.map(({ token }) => token).join(""), "balance");
    for (const { logprob, top_logprobs: top } of tokens) {
      assert.equal(logprob, top[0]?.logprob, "greedy takes the likeliest");
      const mass = top.reduce((sum, entry) => sum + Math.exp(entry.logprob), 0);
      assert.ok(mass > 0 && mass <= 1 + 1e-6, `five tokens have ${mass} of all probability`);
    }
  });

  test("continues plain text", async () => {
    const { choices } = await running.client.completions.create({
      model: "tiny",
      prompt: "Once upon a time",
      temperature: 0,
      max_tokens: 8,
    });
    assert.match(choices[0]!.text, /^,? there was/);
  });

  test("refuses what does not fit the context, saying how much there is", async () => {
    const tooLong = running.ask("tiny", "word ".repeat(600));
    await assert.rejects(tooLong, (error: unknown) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.equal(error.code, "context_length_exceeded");
      assert.match(error.message, /maximum context length is 512 tokens/);
      return true;
    });
  });

  test("answers 404 for a model it does not have", async () => {
    await assert.rejects(running.ask("nobody", "hello"), OpenAI.NotFoundError);
  });

  test("gives the places of clients that leave to others", async () => {
    // More streams than the engine has places, each abandoned after its first token: the last one is served all the same.
    for (let round = 0; round < 3; round++) {
      const streams = Array.from({ length: testEngine.sequences }, async () => {
        const stream = await running.client.chat.completions.create({
          model: "tiny",
          messages: [{ role: "user", content: "Tell me a story." }],
          stream: true,
          logit_bias: { "2": -100 },
        });
        for await (const _chunk of stream) break;
      });
      await Promise.all(streams);
    }
    assert.equal(await running.ask("roman", "1987"), "M C M L X X X V I I");
  });
});

test("continues open streams with the same text when the engine is killed", async () => {
  const restarts: number[] = [];
  await using running = await startServer({
    onEvent: (event) => {
      if (event.type === "engineRestarted") restarts.push(event.sequences);
    },
  });
  const body = {
    model: "tiny",
    messages: [{ role: "user" as const, content: "Tell me a story." }],
    temperature: 0,
    max_tokens: 200,
    logit_bias: { "2": -100 },
  };
  const undisturbed = (await running.client.chat.completions.create(body)).choices[0]!.message.content;
  const stream = await running.client.chat.completions.create({ ...body, stream: true });
  let text = "";
  let killed = false;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    if (killed || text.length < 40) continue;
    process.kill(running.service.enginePid!, "SIGKILL");
    killed = true;
  }
  assert.equal(text, undisturbed);
  assert.deepEqual(restarts, [1]);
});

test("loses no request and changes no text when the engine is killed again and again under load", async () => {
  let restarts = 0;
  await using running = await startServer({
    onEvent: ({ type }) => {
      if (type === "engineRestarted") restarts += 1;
    },
  });
  const names = Object.keys(questions);
  const more = { max_tokens: 80, logit_bias: { "2": -20 } };
  const askAll = () => Promise.all([...names, ...names].map((model) => running.ask(model, questions[model]!, more)));
  const undisturbed = await askAll();
  const kills = process.env.KINDRED_SLOW_TESTS ? 200 : 5;
  const mayGoOn = new AbortController();
  const killing = (async () => {
    for (let kill = 0; restarts < kills; kill++) {
      const before = restarts;
      process.kill(running.service.enginePid!, "SIGKILL");
      while (restarts === before) await sleep(5);
      await sleep(700 * uniformAt(5, kill));
    }
    mayGoOn.abort();
  })();
  while (!mayGoOn.signal.aborted) assert.deepEqual(await askAll(), undisturbed);
  await killing;
  assert.ok(restarts >= kills);
});

test("serves more variants than fit its memory, one after the other", async () => {
  const engine = { ...testEngine, contextLength: 128, sequences: 4 };
  const memoryBytes = await memoryFor(2, 800_000, { engine });
  await using running = await startServer({ engine: { ...engine, memoryBytes } });
  assert.equal(running.service.info.memory.variantsMax, 2);
  assert.match(running.service.info.kernels, /^native kernels: /);
  const names = Object.keys(questions);
  const answers = await Promise.all(names.map((model) => running.ask(model, questions[model]!)));
  assert.equal(answers[names.indexOf("roman")], "M C M L X X X V I I");
  assert.equal(answers[names.indexOf("dates")], "1987-05-03");
});

test("refuses to start, or to serve a variant, with less memory than it takes, and says how much that is", async () => {
  const engine = { ...testEngine, contextLength: 64, sequences: 1 };
  const memoryBytes = await memoryFor(0, 400_000, { engine });
  await using running = await startServer({ engine: { ...engine, memoryBytes } });
  const { refused } = running.service.info;
  assert.equal(refused.length, 7);
  assert.equal(refused[0]!.error.code, "insufficient_memory");
  assert.match(refused[0]!.error.message, /^Cannot serve variant banking77 within .* MB for its own parts$/);
  assert.notEqual(await running.ask("tiny", "Once"), "");
  const starting = startServer({ engine: { ...engine, memoryBytes: 1e8 } });
  await assert.rejects(starting, {
    code: "insufficient_memory",
    message: /110 MB for the process, 18.0 MB for the base/,
  });
});

test("keeps pinned variants from the start on, and loads the others by turns", async () => {
  const engine = { ...testEngine, contextLength: 96, sequences: 2 };
  const memoryBytes = await memoryFor(2, 800_000, { engine });
  const loads: string[] = [];
  await using running = await startServer({
    engine: { ...engine, memoryBytes, pinned: ["roman"] },
    onEvent: (event) => event.type === "variantLoaded" && loads.push(event.variant),
  });
  for (const model of ["clinc", "dates", "scan", "roman", "clinc", "roman"]) {
    await running.ask(model, questions[model]!, { max_tokens: 24 });
  }
  assert.deepEqual(loads, ["clinc", "dates", "scan", "clinc"]);
  const crowded = startServer({ engine: { ...engine, memoryBytes, pinned: ["roman", "clinc", "dates"] } });
  await assert.rejects(crowded, { code: "insufficient_memory", message: /MB for pinned variants/ });
  await assert.rejects(startServer({ engine: { ...engine, pinned: ["nobody"] } }), { code: "model_not_found" });
});

test("refuses variants of another base and serves the others", async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), "kindred-"));
  t.after(() => rm(folder, { recursive: true }));
  await cp(base, path.join(folder, "base"), { recursive: true });
  const file = await open(path.join(folder, "base/model.safetensors"), "r+");
  await file.write(Uint8Array.of(1), 0, 1, 5_000_000);
  await file.close();
  await using running = await startServer({ base: path.join(folder, "base"), variants: path.join(variants, "roman") });
  assert.deepEqual(
    running.service.info.refused.map(({ error }) => error.code),
    ["base_mismatch"],
  );
  assert.deepEqual(
    running.service.completer.models().map(({ id }) => id),
    ["tiny"],
  );
  assert.notEqual(await running.ask("tiny", "Tell me a story."), "");
});

test("refuses an artifact of exact layers alone, and says what to do", async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), "kindred-"));
  t.after(() => rm(folder, { recursive: true }));
  await using checkpoint = await openCheckpoint(base);
  await using delta = await openDelta(path.join(variants, "roman"));
  await restoreCheckpoint({ base: checkpoint, delta, out: path.join(folder, "tuned") });
  await using tuned = await openCheckpoint(path.join(folder, "tuned"));
  await compressDelta({ base: checkpoint, tuned, codec: createCodec("exact"), out: path.join(folder, "exact") });
  await using running = await startServer({ variants: path.join(folder, "exact") });
  const [refused] = running.service.info.refused;
  assert.equal(refused?.error.code, "only_exact");
  assert.match(refused.error.message, /--codec sign --exact/);
});

test("fails the requests of a variant whose bytes changed on disk, and no others", async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), "kindred-"));
  t.after(() => rm(folder, { recursive: true }));
  for (const name of ["roman", "dates"])
    await cp(path.join(variants, name), path.join(folder, name), { recursive: true });
  const file = await open(path.join(folder, "roman/delta.safetensors"), "r+");
  await file.write(Uint8Array.of(255, 0, 255), 0, 3, 700_000);
  await file.close();
  await using running = await startServer({ variants: folder });
  const [roman, dates] = await Promise.allSettled([
    running.ask("roman", "1987"),
    running.ask("dates", questions.dates!),
  ]);
  assert.equal(roman.status, "rejected");
  assert.match(String(roman.reason.message), /checksum/);
  assert.equal(dates.status === "fulfilled" && dates.value, "1987-05-03");
});
