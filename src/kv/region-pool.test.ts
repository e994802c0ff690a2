import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RegionPool } from "./region-pool.js";

test("gives the lowest free region, so that the taken ones lie side by side", () => {
  const pool = new RegionPool(4);
  assert.deepEqual([pool.take(), pool.take(), pool.take()], [0, 1, 2]);
  pool.release(1);
  pool.release(0);
  assert.deepEqual([pool.free, pool.take(), pool.take(), pool.take(), pool.take()], [3, 0, 1, 3, undefined]);
});

test("releasing a free region is a mistake", () => {
  const pool = new RegionPool(2);
  assert.throws(() => pool.release(0), /region 0 released while it was free/);
});

test("whatever is taken and released, no region is given twice and none is lost", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), fc.array(fc.nat({ max: 12 }), { maxLength: 60 }), (regions, moves) => {
      const pool = new RegionPool(regions);
      const taken = new Set<number>();
      for (const move of moves) {
        const owned = [...taken];
        const region = owned[move];
        if (region !== undefined) {
          pool.release(region);
          taken.delete(region);
        } else {
          const lowestFree = Array.from({ length: regions }, (_, at) => at).find((at) => !taken.has(at));
          const given = pool.take();
          assert.equal(given, lowestFree);
          if (given !== undefined) taken.add(given);
        }
        assert.equal(pool.free, regions - taken.size);
      }
    }),
  );
});
