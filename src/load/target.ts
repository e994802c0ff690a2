import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import { KindredError, type Prompt } from "../core/index.js";
import { isRecord } from "../util/index.js";
import { EventStream } from "./event-stream.js";
import type { RequestFailure } from "./record.js";

/** A server that is put under load. */
export interface TargetOptions {
  /** Where its API begins, such as `http://127.0.0.1:8000/v1`. */
  readonly url: string;
  /** One a client; without any, no key is sent. */
  readonly apiKeys: readonly string[];
  /** More fields of every request's body. */
  readonly body?: Readonly<Record<string, unknown>>;
}

/** A completion to ask for; the answer is greedy. */
export interface TargetRequest {
  readonly model: string;
  readonly prompt: Exclude<Prompt, { kind: "tokens" }>;
  readonly maxTokens: number;
  readonly client: number;
}

/** What comes back while a completion is streamed. */
export type TargetEvent =
  /** A piece of the answer, or the end of one that is empty. */
  | { readonly type: "output"; readonly isText: boolean }
  | { readonly type: "usage"; readonly promptTokens: number; readonly outputTokens: number };

/** A model that a server lists. */
export interface TargetModel {
  readonly id: string;
  /** Of a variant, its base; null for a base; undefined where the server does not say. */
  readonly parent: string | null | undefined;
  /** Which server or company it says it is of. */
  readonly owner: string | undefined;
}

/** A request that did not get its answer; `code` is the server's, else that of HTTP or of the connection. */
export class RequestFailed extends KindredError {
  constructor({ code, message }: RequestFailure, options: { status?: number; cause?: unknown } = {}) {
    super(code, options.status ?? 502, message, { cause: options.cause });
  }
}

/** Of an error's body or a list of models; what is longer is not read. */
const bodyBytesMax = 4 << 20;

/** Any server that speaks OpenAI's API. Disposing closes the connections that are kept for the next request. */
export class Target implements Disposable {
  readonly #options: TargetOptions;
  readonly #base: string;
  readonly #agent: HttpAgent;
  readonly #isSecure: boolean;

  /** @throws {RequestFailed} when the URL is none */
  constructor(options: TargetOptions) {
    if (!/^https?:/.test(options.url) || !URL.canParse(options.url))
      throw new RequestFailed({
        code: "invalid_url",
        message: `Cannot reach ${options.url}: expected where an API begins, such as http://127.0.0.1:8000/v1`,
      });
    this.#options = options;
    this.#base = options.url.replace(/\/+$/, "");
    this.#isSecure = this.#base.startsWith("https:");
    this.#agent = new (this.#isSecure ? HttpsAgent : HttpAgent)({ keepAlive: true });
  }

  /** @throws {RequestFailed} when the server cannot be reached or has no such list; else the reason of `signal` */
  async models(signal: AbortSignal): Promise<TargetModel[]> {
    const response = await this.#send({ method: "GET", path: "/models", client: 0 }, signal);
    const list = parseJson(await readBody(response, signal));
    const models = isRecord(list) && Array.isArray(list.data) ? list.data.filter(isRecord) : [];
    const known = models.flatMap(({ id, parent, owned_by: owner }): TargetModel[] => {
      if (typeof id !== "string") return [];
      return [
        {
          id,
          parent: typeof parent === "string" || parent === null ? parent : undefined,
          owner: typeof owner === "string" ? owner : undefined,
        },
      ];
    });
    if (known.length > 0) return known;
    throw new RequestFailed({ code: "no_models", message: `${this.#base}/models lists no models` });
  }

  /**
   * Streams one completion.
   *
   * @throws {RequestFailed} when it is refused, fails, or ends before its end; else the reason of `signal`
   */
  async *complete(request: TargetRequest, signal: AbortSignal): AsyncGenerator<TargetEvent> {
    const { model, prompt, maxTokens, client } = request;
    const body = {
      model,
      ...(prompt.kind === "chat" ? { messages: prompt.messages } : { prompt: prompt.text }),
      max_tokens: maxTokens,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
      ...this.#options.body,
    };
    const path = prompt.kind === "chat" ? "/chat/completions" : "/completions";
    const response = await this.#send({ method: "POST", path, client, body: JSON.stringify(body) }, signal);
    const stream = new EventStream();
    let isEnded = false;
    let isDone = false;
    try {
      for await (const bytes of response) {
        for (const data of stream.push(bytes)) {
          // Read on to the end, or the connection could not be used again.
          if (data === "[DONE]") isDone = true;
          if (isDone) continue;
          for (const event of readChunk(parseJson(data))) {
            isEnded ||= event.type === "output" && !event.isText;
            yield event;
          }
        }
      }
    } catch (cause) {
      throw failureOf(cause, signal);
    }
    if (!isEnded && !isDone) throw new RequestFailed({ code: "incomplete_stream", message: "The answer broke off" });
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  /** Sends a request and waits for a successful response. */
  async #send(
    { method, path, client, body }: { method: string; path: string; client: number; body?: string },
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const { apiKeys } = this.#options;
    const headers = {
      ...(body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
      ...(apiKeys.length === 0 ? {} : { authorization: `Bearer ${apiKeys[client % apiKeys.length]}` }),
    };
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const attempt = (isAgain: boolean) => {
        const send = this.#isSecure ? requestHttps : requestHttp;
        const sent = send(`${this.#base}${path}`, { method, headers, agent: this.#agent, signal }, resolve);
        sent.once("error", (error: NodeJS.ErrnoException) => {
          // A kept connection may be closed by the server as it is taken again; nothing was asked then.
          if (error.code === "ECONNRESET" && sent.reusedSocket && !isAgain) attempt(true);
          else reject(failureOf(error, signal));
        });
        sent.end(body);
      };
      attempt(false);
    });
    if (response.statusCode === 200) return response;
    throw errorOf(parseJson(await readBody(response, signal)), response.statusCode ?? 0);
  }
}

function* readChunk(chunk: unknown): Generator<TargetEvent> {
  if (!isRecord(chunk))
    throw new RequestFailed({ code: "invalid_stream", message: "An event of the answer is not JSON" });
  if (chunk.error !== undefined) throw errorOf(chunk, 200);
  const choice: unknown = Array.isArray(chunk.choices) ? chunk.choices[0] : undefined;
  if (isRecord(choice)) {
    const delta = isRecord(choice.delta) ? choice.delta : {};
    const isText = [choice.text, delta.content, delta.reasoning_content].some(
      (text) => typeof text === "string" && text,
    );
    if (isText) yield { type: "output", isText: true };
    if (typeof choice.finish_reason === "string") yield { type: "output", isText: false };
  }
  if (isRecord(chunk.usage)) {
    const { prompt_tokens: promptTokens, completion_tokens: outputTokens } = chunk.usage;
    if (typeof promptTokens === "number" && typeof outputTokens === "number")
      yield { type: "usage", promptTokens, outputTokens };
  }
}

/** The error that a server sent in OpenAI's shape, or what its status says. */
function errorOf(body: unknown, status: number): RequestFailed {
  const error = isRecord(body) && isRecord(body.error) ? body.error : {};
  const code =
    typeof error.code === "string" ? error.code : typeof error.type === "string" ? error.type : `http_${status}`;
  const message = typeof error.message === "string" ? error.message : `The server answered with status ${status}`;
  return new RequestFailed({ code, message }, { status });
}

/** What to throw where a connection threw: the reason of `signal` if it was aborted. */
function failureOf(cause: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (cause instanceof RequestFailed) return cause;
  const { code, message } = cause as NodeJS.ErrnoException;
  return new RequestFailed({ code: code ?? "connection_failed", message }, { cause });
}

async function readBody(response: IncomingMessage, signal: AbortSignal): Promise<string> {
  const parts: Uint8Array[] = [];
  let byteLength = 0;
  try {
    for await (const part of response) {
      byteLength += part.length;
      if (byteLength > bodyBytesMax) break;
      parts.push(part);
    }
  } catch (cause) {
    throw failureOf(cause, signal);
  }
  return Buffer.concat(parts).toString("utf8");
}

/** Undefined for what is not JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
