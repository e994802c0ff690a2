import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { ByteBudget } from "./byte-budget.js";

test("whoever does not fit waits, and so does everybody behind", async () => {
  const budget = new ByteBudget(10);
  const first = await budget.take(6);
  const got: string[] = [];
  const waiting = [5, 1].map(async (bytes) => {
    using _ = await budget.take(bytes);
    got.push(`${bytes}`);
  });
  await turn();
  assert.deepEqual(got, []);
  first[Symbol.dispose]();
  await Promise.all(waiting);
  assert.deepEqual(got, ["5", "1"]);
  assert.equal(budget.bytesUsed, 0);
});

test("more than there is comes alone", async () => {
  const budget = new ByteBudget(10);
  const small = await budget.take(1);
  let large: Disposable | undefined;
  const taking = budget.take(50).then((taken) => {
    large = taken;
  });
  await turn();
  assert.equal(large, undefined);
  small[Symbol.dispose]();
  await taking;
  assert.equal(budget.bytesUsed, 50);
  large![Symbol.dispose]();
  assert.throws(() => large![Symbol.dispose](), /given back twice/);
});
