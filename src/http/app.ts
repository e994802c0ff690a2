import { randomUUID } from "node:crypto";
import { type FastifyInstance, type FastifyReply, type FastifyServerOptions, fastify } from "fastify";
import { type Completer, KindredError } from "../core/index.js";
import { registerCompletionApi } from "./answer.js";
import { ApiKeys } from "./api-keys.js";
import { chatCompletions } from "./chat-completions.js";
import { completions } from "./completions.js";
import { errorResponse, malformedRequestResponse } from "./error-response.js";
import { registerModels } from "./models.js";

/** What the front door is made of. */
export interface AppOptions {
  readonly completer: Completer;
  /** Keys that open /v1; with an empty list none does. Absent: it is open to all. */
  readonly apiKeys?: readonly string[];
  /** Larger request bodies are refused with 413. Default: 8 MiB. */
  readonly bodyBytesMax?: number;
  /** Fastify's (pino's) options. Default: no log. */
  readonly logger?: FastifyServerOptions["logger"];
}

const bodyBytesMaxDefault = 8 * 1024 * 1024;
/** A client may take this long to send a request; answers have no limit. */
const requestTimeoutMs = 60_000;

/**
 * The OpenAI API in front of a {@link Completer}: /v1/models, /v1/chat/completions, /v1/completions, and /health.
 *
 * The app opens no port by itself; see {@link listen}.
 */
export function createApp(options: AppOptions): FastifyInstance {
  const { completer, apiKeys, bodyBytesMax = bodyBytesMaxDefault, logger = false } = options;
  const app = fastify({
    logger,
    bodyLimit: bodyBytesMax,
    requestTimeout: requestTimeoutMs,
    return503OnClosing: false,
    genReqId: () => `req_${randomUUID().replaceAll("-", "")}`,
    frameworkErrors: (error, _request, reply) => sendError(reply, error),
    clientErrorHandler: (error, socket) => {
      if (socket.writable && error.code !== "ECONNRESET") socket.end(malformedRequestResponse(error.code));
      else socket.destroy();
    },
  });
  app.removeContentTypeParser("text/plain");
  app.setErrorHandler((error, _request, reply) => sendError(reply, error));
  app.setNotFoundHandler(({ method, url }) => {
    throw new KindredError("unknown_url", 404, `There is no ${method} ${url} here; the API begins at /v1`);
  });
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id);
  });
  refuseWhileDraining(app);

  app.get("/health", () => ({ status: "ok" }));
  app.register(
    async (v1) => {
      if (apiKeys !== undefined) requireKey(v1, new ApiKeys(apiKeys));
      registerModels(v1, completer);
      registerCompletionApi(v1, completer, chatCompletions);
      registerCompletionApi(v1, completer, completions);
    },
    { prefix: "/v1" },
  );
  return app;
}

function requireKey(app: FastifyInstance, keys: ApiKeys): void {
  app.addHook("onRequest", async (request, reply) => {
    reply.header("www-authenticate", "Bearer");
    keys.check(request.headers.authorization);
    reply.removeHeader("www-authenticate");
  });
}

/** From `close` on: answers under way end, each connection closes after its answer, and further requests get a 503. */
function refuseWhileDraining(app: FastifyInstance): void {
  let draining = false;
  app.addHook("preClose", async () => {
    draining = true;
  });
  app.addHook("onRequest", async () => {
    if (!draining) return;
    throw new KindredError("shutting_down", 503, "This server is shutting down", { details: { retryAfterSeconds: 1 } });
  });
  app.addHook("onResponse", async ({ raw }) => {
    if (draining) raw.socket.destroySoon();
  });
}

function sendError(reply: FastifyReply, error: unknown): FastifyReply {
  if (reply.raw.destroyed) return reply.hijack();
  const { status, headers, body } = errorResponse(error);
  if (status >= 500) reply.log.error(error, "a request failed");
  return reply.code(status).headers(headers).send(body);
}
