import { STATUS_CODES } from "node:http";
import type { FastifyError } from "fastify";
import { KindredError } from "../core/index.js";

/** An error as an HTTP response in OpenAI's shape. */
export interface ErrorResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: {
    readonly error: {
      readonly message: string;
      readonly type: string;
      readonly param: string | null;
      readonly code: string | null;
    };
  };
}

/** What to tell a client about `error`. Of what failed inside (status 500) it learns only that something did. */
export function errorResponse(error: unknown): ErrorResponse {
  const { status, code, message, details } = described(error);
  return {
    status,
    headers: retryHeaders(status, details.retryAfterSeconds),
    body: {
      error: {
        message: status === 500 ? "Something failed inside the server; its log says what" : message,
        type: errorType(status),
        param: typeof details.param === "string" ? details.param : code === "model_not_found" ? "model" : null,
        code,
      },
    },
  };
}

type Description = Pick<KindredError, "status" | "code" | "message" | "details">;

// Reads fields rather than classes: an error that crossed a process boundary keeps only the former.
function described(error: unknown): Description {
  if (error instanceof KindredError) return error;
  if (isFastifyError(error)) {
    const [code, message] = fastifyErrors[error.code] ?? ["bad_request", error.message];
    return { status: error.statusCode, code, message, details: {} };
  }
  return { status: 500, code: "internal_error", message: "", details: {} };
}

const fastifyErrors: Readonly<Record<string, readonly [code: string, message: string]>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [
    "unsupported_media_type",
    "Cannot read the body: expected content type application/json",
  ],
  FST_ERR_CTP_BODY_TOO_LARGE: ["body_too_large", "Cannot read the body: it is larger than this server accepts"],
  FST_ERR_CTP_EMPTY_JSON_BODY: ["invalid_json", "Cannot read the body: expected JSON, got nothing"],
  FST_ERR_CTP_INVALID_JSON_BODY: ["invalid_json", "Cannot read the body: it is not valid JSON"],
};

function isFastifyError(error: unknown): error is FastifyError & { readonly statusCode: number } {
  if (!(error instanceof Error) || !("code" in error) || !("statusCode" in error)) return false;
  return typeof error.statusCode === "number" && error.statusCode >= 400 && error.statusCode < 500;
}

function errorType(status: number): string {
  if (status >= 500) return "server_error";
  if (status === 429) return "rate_limit_error";
  return status === 403 ? "permission_error" : "invalid_request_error";
}

function retryHeaders(status: number, retryAfterSeconds: unknown): Record<string, string> {
  if (typeof retryAfterSeconds === "number")
    return { "retry-after": String(Math.max(1, Math.ceil(retryAfterSeconds))) };
  // OpenAI's clients try a conflict and a timeout again by themselves; ours stay conflicts, and the time is over.
  return status === 409 || status === 504 ? { "x-should-retry": "false" } : {};
}

/** The response, byte by byte, to what was not even HTTP, timed out or had oversized headers. */
export function malformedRequestResponse(errorCode: string): string {
  const status = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }[errorCode] ?? 400;
  const phrase = STATUS_CODES[status];
  const message = `Cannot read the request: ${phrase}`;
  const body = JSON.stringify({ error: { message, type: errorType(status), param: null, code: "bad_request" } });
  const head = [
    `HTTP/1.1 ${status} ${phrase}`,
    "Content-Type: application/json; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
  ];
  return `${head.join("\r\n")}\r\n\r\n${body}`;
}
