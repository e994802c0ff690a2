import { once } from "node:events";
import type { OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { FastifyReply } from "fastify";
import { errorResponse } from "./error-response.js";

// A streamed answer, as OpenAI frames it:
//
//   data: {"id":…,"choices":[…]}⏎⏎     one event for each chunk, written when it is there
//   data: [DONE]⏎⏎                     the end; or, when something failed on the way, in its place
//   data: {"error":{…}}⏎⏎

const headers = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  "x-accel-buffering": "no",
};

/**
 * Answers with one server-sent event for each chunk. Waits for the reader where it is slower than the chunks.
 *
 * @param departure aborted when the reader is gone; ends the wait for it
 * @throws what `chunks` throws before its first chunk: nothing is sent then
 */
export async function sendEvents(
  reply: FastifyReply,
  chunks: AsyncGenerator<object>,
  departure: AbortSignal,
): Promise<FastifyReply> {
  const first = await chunks.next();
  const { raw } = reply.hijack();
  raw.writeHead(200, reply.headers(headers).getHeaders() as OutgoingHttpHeaders);
  try {
    for (let next = first; !next.done; next = await chunks.next()) await writeEvent(raw, next.value, departure);
    raw.end("data: [DONE]\n\n");
  } catch (error) {
    if (raw.destroyed) return reply;
    const { status, body } = errorResponse(error);
    if (status >= 500) reply.log.error(error, "a streamed answer failed");
    raw.end(`data: ${JSON.stringify(body)}\n\n`);
  } finally {
    await chunks.return(undefined);
  }
  return reply;
}

async function writeEvent(raw: ServerResponse, chunk: object, departure: AbortSignal): Promise<void> {
  if (!raw.write(`data: ${JSON.stringify(chunk)}\n\n`)) await once(raw, "drain", { signal: departure });
}
