// A completer that says what a test wrote down, behind a real port.

import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import OpenAI from "openai";
import type { Completer, CompletionEvent, CompletionRequest, ModelCard, TokenReport } from "../core/index.js";
import { type AppOptions, createApp } from "./app.js";
import { type Listening, type ListenOptions, listen } from "./listen.js";

/** What a completion says, event by event. */
export type Script = (request: CompletionRequest, signal: AbortSignal) => AsyncIterable<CompletionEvent>;

export const cards: readonly ModelCard[] = [
  { id: "base", parent: null, created: 1_700_000_000, contextLength: 512 },
  { id: "org/support-fr", parent: "base", created: 1_700_000_001, contextLength: 512 },
];

/** Plays `script` and keeps what it was asked for, and what became of each completion. */
export class ScriptedCompleter implements Completer {
  readonly requests: CompletionRequest[] = [];
  readonly signals: AbortSignal[] = [];
  /** Completions whose iterator was run to its end or closed. */
  closed = 0;
  readonly #script: Script;

  constructor(script: Script) {
    this.#script = script;
  }

  models(): readonly ModelCard[] {
    return cards;
  }

  async *complete(request: CompletionRequest, signal: AbortSignal): AsyncGenerator<CompletionEvent> {
    this.requests.push(request);
    this.signals.push(signal);
    try {
      yield* this.#script(request, signal);
    } finally {
      this.closed++;
    }
  }
}

/** Says `pieces` one by one, each as one token whose likeliest rival is "?". */
export function says(...pieces: readonly string[]): Script {
  return async function* ({ topLogprobs }) {
    yield started;
    for (const piece of pieces) {
      yield { type: "text", text: piece, reports: topLogprobs === null ? [] : [report(piece, topLogprobs)] };
    }
    yield finished(pieces.length);
  };
}

export const started: CompletionEvent = { type: "started", promptTokens: 5 };

export function text(piece: string): CompletionEvent {
  return { type: "text", text: piece, reports: [] };
}

/** The last event after `completionTokens` tokens of answer to a prompt of 5, of which 3 were cached. */
export function finished(completionTokens: number): CompletionEvent {
  return { type: "finished", reason: "stop", usage: { promptTokens: 5, completionTokens, cachedTokens: 3 } };
}

export function report(token: string, topLogprobs: number): TokenReport {
  const chosen = { token, bytes: [...Buffer.from(token)], logprob: -0.25 };
  const rival = { token: "?", bytes: [63], logprob: Number.NEGATIVE_INFINITY };
  return { ...chosen, top: [chosen, rival].slice(0, topLogprobs) };
}

/** Resolves when `signal` is aborted. */
export function abortOf(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** A front door on a free port, and OpenAI's client for it. */
export interface Served extends Listening {
  readonly completer: ScriptedCompleter;
  readonly client: OpenAI;
  /** POSTs `body` as JSON to a path under /v1. */
  post(path: string, body: unknown, init?: RequestInit): Promise<Response>;
}

/** Opens a front door that is closed when the test ends. */
export async function serve(
  test: TestContext,
  script: Script,
  options: Omit<AppOptions, "completer"> & Omit<ListenOptions, "port"> = {},
): Promise<Served> {
  const completer = new ScriptedCompleter(script);
  const listening = await listen(createApp({ ...options, completer }), { port: 0, drainTimeoutMs: 0, ...options });
  test.after(() => listening.close());
  const { url } = listening;
  return {
    ...listening,
    completer,
    client: new OpenAI({ baseURL: `${url}/v1`, apiKey: options.apiKeys?.[0] ?? "any", maxRetries: 0 }),
    post(path, body, init = {}) {
      const headers = { "content-type": "application/json" };
      return fetch(`${url}/v1${path}`, { method: "POST", headers, body: JSON.stringify(body), ...init });
    },
  };
}

/** The body of a whole answer. */
export async function jsonOf<T>(response: Response): Promise<T> {
  return (await response.json()) as T;
}

/** The chunks of a streamed answer, which ends with [DONE]. */
export async function chunksOf<T>(response: Response): Promise<T[]> {
  const frames = (await response.text()).split("\n\n");
  assert.deepEqual(frames.splice(-2), ["data: [DONE]", ""]);
  return frames.map((frame) => {
    assert.match(frame, /^data: .*$/);
    return JSON.parse(frame.slice("data: ".length));
  });
}
