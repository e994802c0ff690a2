import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BaseMismatch,
  DeadlineExceeded,
  errorFromData,
  errorToData,
  InvalidRequest,
  KindredError,
  ModelNotFound,
  NativeError,
  Overloaded,
} from "../core/index.js";
import { errorResponse } from "./error-response.js";

const from = (error: unknown) => {
  const { status, headers, body } = errorResponse(error);
  const { type, param, code } = body.error;
  return { status, headers, type, param, code };
};

const base = { name: "b", fingerprint: "0".repeat(64) };

for (const [error, expected] of [
  [new InvalidRequest("n", "n: …"), { status: 400, type: "invalid_request_error", param: "n", code: "invalid_value" }],
  [new ModelNotFound("x"), { status: 404, type: "invalid_request_error", param: "model", code: "model_not_found" }],
  [new KindredError("gone", 503, "…"), { status: 503, type: "server_error", param: null, code: "gone" }],
  [new KindredError("no", 403, "…"), { status: 403, type: "permission_error", param: null, code: "no" }],
  [new NativeError("…"), { status: 500, type: "server_error", param: null, code: "native_error" }],
  [new TypeError("x is undefined"), { status: 500, type: "server_error", param: null, code: "internal_error" }],
  ["thrown text", { status: 500, type: "server_error", param: null, code: "internal_error" }],
] as const) {
  test(`${error instanceof Error ? error.name : error} becomes ${expected.status} ${expected.type}`, () => {
    assert.deepEqual(from(error), { ...expected, headers: {} });
  });
}

test("a request whose time is over is not worth another try", () => {
  const expected = { status: 504, type: "server_error", param: null, code: "deadline_exceeded" };
  assert.deepEqual(from(new DeadlineExceeded(0)), { ...expected, headers: { "x-should-retry": "false" } });
});

test("an overloaded server says after how many whole seconds to come back, at least one", () => {
  const response = from(new Overloaded("full", 2.2));
  assert.deepEqual([response.status, response.type], [429, "rate_limit_error"]);
  assert.deepEqual(response.headers, { "retry-after": "3" });
  assert.deepEqual(from(new Overloaded("full", 0)).headers, { "retry-after": "1" });
});

test("a conflict tells OpenAI's clients not to try again", () => {
  assert.deepEqual(from(new BaseMismatch("d", base, base)).headers, { "x-should-retry": "false" });
});

test("an error that crossed a process boundary reads as it did before", () => {
  for (const error of [new InvalidRequest("n", "n: …"), new ModelNotFound("x"), new Overloaded("full", 2)]) {
    assert.deepEqual(errorResponse(errorFromData(errorToData(error))), errorResponse(error));
  }
});

test("nothing of what failed inside is told", () => {
  for (const error of [
    new Error("/srv/secret"),
    new NativeError("/srv/secret"),
    errorFromData(errorToData(new Error("/srv/secret"))),
  ]) {
    assert.doesNotMatch(JSON.stringify(errorResponse(error)), /secret/);
  }
});
