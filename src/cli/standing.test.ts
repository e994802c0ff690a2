// One region for everybody: who stands where shows in who is answered first.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { memoryFor, startServer, testEngine } from "./service.test.kit.js";

let running: Awaited<ReturnType<typeof startServer>>;
before(async () => {
  running = await startServer({ engine: { ...testEngine, sequences: 1 } });
});
after(() => running[Symbol.asyncDispose]());

const question = "Tell me a story.";

/** Asks for an answer of 300 tokens and comes back once it has begun; `text` is all of it. */
async function longAnswer(more: object, client = running.client): Promise<{ text: Promise<string> }> {
  const stream = await client.chat.completions.create({
    model: "tiny",
    messages: [{ role: "user", content: question }],
    temperature: 1,
    seed: 1,
    max_tokens: 300,
    stream: true,
    ...more,
  });
  const chunks = stream[Symbol.asyncIterator]();
  const first = await chunks.next();
  const rest = async () => {
    let text: string = first.value.choices[0]?.delta.content ?? "";
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
      text += next.value.choices[0]?.delta.content ?? "";
    }
    return text;
  };
  return { text: rest() };
}

test("an urgent request takes the place of a running one, which goes on as if nothing had been", async () => {
  const alone = await (await longAnswer({})).text;
  await running.ask("roman", "1987"); // so that it is loaded
  const order: string[] = [];
  const note = (who: string) => (text: string) => {
    order.push(who);
    return text;
  };
  const patient = (await longAnswer({ priority: 5 })).text.then(note("patient"));
  const equal = running.ask("tiny", question, { max_tokens: 40, priority: 5 }).then(note("equal"));
  const urgent = running.ask("roman", "1987", { priority: 1 }).then(note("urgent"));
  assert.equal(await urgent, "M C M L X X X V I I");
  assert.equal(await patient, alone);
  await equal;
  assert.deepEqual(order, ["urgent", "patient", "equal"]);
});

test("a key that asks once does not stand behind all that another has asked", async () => {
  const key = (apiKey: string) => new OpenAI({ baseURL: `${running.server.url}/v1`, apiKey, maxRetries: 0 });
  const [many, single] = [key("many"), key("single")];
  const order: string[] = [];
  const ask = async (client: OpenAI, who: string) => {
    await client.completions.create({ model: "tiny", prompt: "Once upon a time", temperature: 0, max_tokens: 24 });
    order.push(who);
  };
  const first = await longAnswer({}, many);
  const answers = Array.from({ length: 6 }, () => ask(many, "many"));
  await new Promise((resolve) => setTimeout(resolve, 50)); // until those stand in line
  await Promise.all([first.text, ...answers, ask(single, "single")]);
  assert.equal(order.indexOf("single"), 0, order.join(" "));
});

test("a request that cannot start in its time ends with 504 while the one before it runs on", async () => {
  const before = await longAnswer({});
  const late = running.ask("tiny", question, { timeout: 0.02 });
  await assert.rejects(late, (error: unknown) => {
    assert.ok(error instanceof OpenAI.APIError);
    assert.deepEqual([error.status, error.code], [504, "deadline_exceeded"]);
    assert.match(error.message, /before its answer began/);
    return true;
  });
  assert.ok((await before.text).length > 0);
});

test("a request that cannot finish in its time keeps what it has said and ends with an error", async () => {
  await (await longAnswer({})).text; // the variant is loaded with it
  const startedMs = performance.now();
  await (await longAnswer({})).text;
  const third = (performance.now() - startedMs) / 3000;
  const late = await longAnswer({ timeout: third });
  await assert.rejects(late.text, { code: "deadline_exceeded", message: /tokens into its answer/ });
  assert.ok((await running.ask("roman", "1987")).startsWith("M C M"), "its place is free again");
});

test("a variant that nobody else asks for gets slots in the middle of a rush for another", async () => {
  const engine = { ...testEngine, contextLength: 96, sequences: 2 };
  const memoryBytes = await memoryFor(1, 1_000_000, { engine });
  await using crowded = await startServer({ engine: { ...engine, memoryBytes } });
  assert.equal(crowded.service.info.memory.variantsMax, 1);
  const order: string[] = [];
  const ask = async (model: string, content: string) => {
    const answer = await crowded.ask(model, content);
    order.push(model);
    return answer;
  };
  const rush = Array.from({ length: 48 }, () => ask("roman", "1987"));
  const [lonely, ...others] = await Promise.all([ask("clinc", "how much money do i have in savings"), ...rush]);
  assert.equal(lonely, "balance");
  assert.deepEqual(new Set(others), new Set(["M C M L X X X V I I"]), "also where the rush was interrupted");
  assert.ok(order.indexOf("clinc") < 44, `it came ${order.indexOf("clinc")} places behind`);
});
