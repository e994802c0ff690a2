import OpenAI from "openai";
import { defaultEngineOptions } from "../engine/index.js";
import { createApp, listen } from "../http/index.js";
import { openService, type ServiceOptions } from "./wire.js";

export const base = "models/tiny/base";
export const variants = "models/tiny/variants";

/** A question for the base and for each embedded variant. */
export const questions: Readonly<Record<string, string>> = {
  tiny: "Tell me a story.",
  banking77: "My card has not arrived yet",
  clinc: "how much money do i have in savings",
  dates: "the 3rd of May 1987",
  roman: "1987",
  scan: "walk left twice and jump",
  shakespeare: "O Romeo, Romeo! wherefore art thou Romeo?",
  wikisql: "what is the score when the opponent is france ?",
};

/** Exact arithmetic, so that how requests are grouped cannot show in the last bit of a near tie. */
export const testEngine = {
  ...defaultEngineOptions,
  baseDType: "f32",
  kvDType: "f32",
  threads: 1,
  contextLength: 512,
} as const;

/** Memory in which so many of the variants have room, of the size of the largest, and so many bytes of requests beside them. */
export async function memoryFor(
  count: number,
  requestBytes: number,
  options: Partial<Pick<ServiceOptions, "engine" | "variants">> = {},
): Promise<number> {
  const engine = { ...(options.engine ?? testEngine), memoryBytes: 1e9 };
  await using service = await openService({ base, variants: options.variants ?? variants, engine, inline: true });
  const { processBytes, baseBytes, stepBytes, fixedBytes, variantBytes } = service.info.memory;
  return processBytes + baseBytes + stepBytes + fixedBytes + count * variantBytes + requestBytes;
}

/** The embedded family behind a real port, in an engine process of its own, with the official client in front. */
export async function startServer(options: Partial<ServiceOptions> = {}) {
  const service = await openService({
    base,
    variants,
    name: "tiny",
    engine: testEngine,
    ...options,
  });
  const server = await listen(createApp({ completer: service.completer }), { port: 0 });
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  const ask = async (model: string, content: string, more: object = {}) => {
    const body = { model, messages: [{ role: "user" as const, content }], temperature: 0, max_tokens: 48, ...more };
    return (await client.chat.completions.create(body)).choices[0]!.message.content!;
  };
  return {
    service,
    server,
    client,
    ask,
    async [Symbol.asyncDispose]() {
      await server.close();
      await service[Symbol.asyncDispose]();
    },
  };
}
