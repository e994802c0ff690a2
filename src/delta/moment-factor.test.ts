import assert from "node:assert/strict";
import { test } from "node:test";
import { gaussian } from "./codec-conformance.test.kit.js";
import { dampedMoment } from "./moment.js";
import { upperFactor } from "./moment-factor.js";
import { timesTransposed, transposed } from "./products.js";

/** The second moment of more inputs than it has columns, or of fewer, some much larger than others. */
function momentOf(inputs: number, cols: number): Float32Array {
  const seen = gaussian({ rows: inputs, cols }, cols).map((value, at) => value * (1 + ((at % cols) % 13)));
  const columns = transposed({ rows: inputs, cols, values: seen });
  return timesTransposed(columns, columns).values;
}

test("the factor is upper triangular and times its transpose what was factored, whatever the blocks", () => {
  for (const cols of [1, 63, 64, 65, 200]) {
    for (const inputs of [3, 300]) {
      const h = { rows: cols, cols, values: dampedMoment(momentOf(inputs, cols), cols, 0.01) };
      const factor = upperFactor(h);
      const largest = h.values.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
      const again = timesTransposed(factor, factor).values;
      for (let row = 0; row < cols; row++) {
        for (let col = 0; col < cols; col++) {
          const at = row * cols + col;
          if (col < row) assert.equal(factor.values[at], 0, `[${row}, ${col}] of ${cols}`);
          const miss = Math.abs(again[at]! - h.values[at]!);
          assert.ok(miss <= 2e-6 * largest, `[${row}, ${col}] of ${cols} with ${inputs} inputs misses by ${miss}`);
        }
      }
    }
  }
});
