import type { FastifyInstance, FastifyReply } from "fastify";
import type { Completer, Standing } from "../core/index.js";
import { clientOf } from "./api-keys.js";
import { completeAll } from "./choices.js";
import { systemFingerprint } from "./models.js";
import type { Order } from "./parse.js";
import { type AnswerShape, renderChunks, renderWhole } from "./render.js";
import { sendEvents } from "./sse.js";

/** One of OpenAI's completion APIs: where it is, how it asks and how it answers. */
export interface CompletionApi {
  readonly path: string;
  /** @throws {InvalidRequest} naming the field that is wrong */
  parse(json: unknown): Order;
  readonly shape: AnswerShape;
}

/** Adds the route of a completion API to `app`. */
export function registerCompletionApi(app: FastifyInstance, completer: Completer, api: CompletionApi): void {
  app.post(api.path, async ({ body, headers }, reply) => {
    const order = api.parse(body);
    const standing = standingOf(order, headers.authorization);
    const departure = departureOf(reply);
    const requests = order.completions.map((completion) => ({ ...completion, standing }));
    const events = completeAll(completer, requests, departure);
    const fingerprint = systemFingerprint(completer, order.model);
    const parts = { shape: api.shape, order, events, fingerprint };
    return order.stream
      ? sendEvents(reply, renderChunks(parts), departure.signal)
      : reply.send(await renderWhole(parts));
  });
}

function standingOf({ priority, timeoutMs }: Order, authorization: string | undefined): Standing {
  const deadlineMs = timeoutMs === null ? null : Date.now() + timeoutMs;
  return { client: clientOf(authorization), priority, deadlineMs };
}

/** Aborts when the connection closes before the answer is out. */
function departureOf({ raw }: FastifyReply): AbortController {
  const departure = new AbortController();
  const leave = (): void => {
    if (!raw.writableFinished) departure.abort();
  };
  if (raw.destroyed) leave();
  else raw.once("close", leave);
  return departure;
}
