// A server that answers completions as a test wrote down, with the pauses it wrote down, and keeps what it was asked.

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import type { TestContext } from "node:test";

/** A request as it arrived. */
export interface Asked {
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly authorization: string | undefined;
  readonly atMs: number;
}

export interface ScriptedServer {
  readonly url: string;
  readonly asked: readonly Asked[];
  /** Requests that were under way at once, at most. */
  readonly together: number;
}

/** Answers a request. */
export type Answer = (response: ServerResponse, asked: Asked) => Promise<void> | void;

export const modelList = [
  { id: "tiny", parent: null },
  { id: "roman", parent: "tiny" },
  { id: "clinc", parent: "tiny" },
];

/** Opens a server that is closed when the test ends. */
export async function scriptedServer(test: TestContext, answer: Answer): Promise<ScriptedServer> {
  const asked: Asked[] = [];
  let open = 0;
  let together = 0;
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    if (request.method === "GET") {
      response.setHeader("content-type", "application/json").end(JSON.stringify({ object: "list", data: modelList }));
      return;
    }
    open += 1;
    together = Math.max(together, open);
    response.once("close", () => {
      open -= 1;
    });
    const body = (await json(request)) as Record<string, unknown>;
    const { authorization } = request.headers;
    asked.push({ path: request.url!, body, authorization, atMs: performance.now() });
    await answer(response, asked.at(-1)!);
  };
  const server = createServer((request, response) => void handle(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  test.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    asked,
    get together() {
      return together;
    },
  };
}

/** One event of a stream. */
export function event(response: ServerResponse, chunk: object): void {
  response.write(`data: ${JSON.stringify(chunk)}\n\n`);
}

/** A chunk of a chat's answer. */
export const piece = (content: string) => ({ choices: [{ index: 0, delta: { content }, finish_reason: null }] });

/** The end of an answer: its reason, its usage, and that was all. */
export function finish(response: ServerResponse, promptTokens: number, outputTokens: number): void {
  event(response, { choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
  event(response, { choices: [], usage: { prompt_tokens: promptTokens, completion_tokens: outputTokens } });
  response.end("data: [DONE]\n\n");
}
