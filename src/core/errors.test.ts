import assert from "node:assert/strict";
import { test } from "node:test";
import * as errors from "./errors.js";

const samples: readonly [errors.KindredError, string, number, RegExp][] = [
  [
    new errors.InvalidFile("/m/model.safetensors", "it ends early"),
    "invalid_file",
    422,
    /^Cannot read \/m\/model\.safetensors: it ends early$/,
  ],
  [
    new errors.UnsupportedModel("/m", "model_type is gpt2"),
    "unsupported_model",
    422,
    /^Cannot load the model in \/m: model_type is gpt2$/,
  ],
  [
    new errors.BaseMismatch(
      "support-fr",
      { name: "a", fingerprint: "1".repeat(64) },
      { name: "b", fingerprint: "2".repeat(64) },
    ),
    "base_mismatch",
    409,
    /^Cannot apply delta support-fr: it was made against base "a" \(sha256 1{12}\), the loaded base is "b" \(sha256 2{12}\)$/,
  ],
  [new errors.InvalidRequest("max_tokens", "expected a positive integer"), "invalid_value", 400, /positive integer/],
  [new errors.ModelNotFound("ghost"), "model_not_found", 404, /^The model "ghost" does not exist/],
  [new errors.Overloaded("too many", 3), "overloaded", 429, /too many/],
  [new errors.NativeError("ggml failed"), "native_error", 500, /ggml failed/],
];

for (const [error, code, status, message] of samples) {
  test(`${error.name} has a code, a status and a sentence, and crosses processes with them`, () => {
    assert.ok(error instanceof errors.KindredError);
    assert.deepEqual([error.code, error.status], [code, status]);
    assert.match(error.message, message);
    const crossed = errors.errorFromData(JSON.parse(JSON.stringify(errors.errorToData(error))));
    assert.deepEqual(
      [crossed.code, crossed.status, crossed.message, crossed.details],
      [error.code, error.status, error.message, error.details],
    );
  });
}

test("an error of nobody's kind crosses as internal, with its words", () => {
  assert.deepEqual(errors.errorToData(new TypeError("x is undefined")), {
    code: "internal_error",
    status: 500,
    message: "x is undefined",
    details: {},
  });
  assert.equal(errors.errorToData("thrown text").message, "thrown text");
});

test("the cause is kept where there is one", () => {
  const cause = new Error("ENOENT");
  assert.equal(new errors.InvalidFile("/x", "gone", { cause }).cause, cause);
  assert.equal("cause" in new errors.InvalidFile("/x", "gone"), false);
  assert.deepEqual(new errors.InvalidFile("/x", "gone", { details: { tensor: "w" } }).details, {
    path: "/x",
    tensor: "w",
  });
});
