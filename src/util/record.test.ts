import assert from "node:assert/strict";
import { test } from "node:test";
import { assert as assertOurs, unreachable } from "./assert.js";
import { isRecord } from "./record.js";

test("a record is a JSON object and nothing else", () => {
  assert.ok(isRecord({}) && isRecord({ a: 1 }));
  for (const other of [null, undefined, [], "a", 1, true]) assert.equal(isRecord(other), false, String(other));
});

test("an assertion of ours says what failed", () => {
  assertOurs(1, "never seen");
  assert.throws(() => assertOurs(0, "region 3 was free"), { message: "Assertion failed: region 3 was free" });
  assert.throws(() => unreachable("sideways" as never), { message: 'Assertion failed: unexpected "sideways"' });
});
