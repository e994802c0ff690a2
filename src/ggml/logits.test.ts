// What the kernels in native/ compute of logits, held against plain arithmetic.

import assert from "node:assert/strict";
import { test } from "node:test";
import { noise } from "./evaluate.test.kit.js";
import { loadKernels } from "./kernels.js";

const logits = (count: number) => noise(count, count).map((value) => value * 30);

for (const name of ["avx512vnni", "avx2", "neon", "scalar"]) {
  test(`${name} finds the first of the largest logits, whatever is no number`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    for (const count of [1, 15, 16, 17, 1000]) {
      const values = logits(count);
      assert.equal(kernels.largest(values), values.indexOf(Math.max(...values)));
      const place = Math.floor(count / 3);
      values[place] = 99;
      values[count - 1] = 99;
      values[0] = Number.NaN;
      assert.equal(kernels.largest(values), place === 0 ? count - 1 : place);
    }
    assert.equal(kernels.largest(new Float32Array(40).fill(Number.NaN)), 0);
    assert.equal(kernels.largest(new Float32Array(40).fill(Number.NEGATIVE_INFINITY)), 0);
  });

  test(`${name} weighs logits as the exponential does`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    for (const temperature of [0.3, 1, 7]) {
      const values = logits(1001);
      values[3] = Number.NaN;
      values[4] = Number.NEGATIVE_INFINITY;
      const largest = 30;
      const weights = new Float64Array(values.length).fill(-1);
      kernels.weigh(values, largest, temperature, weights);
      values.forEach((value, at) => {
        const exponent = (value - largest) / temperature;
        const expected = exponent > -45 ? Math.exp(exponent) : 0;
        assert.ok(Math.abs(weights[at]! - expected) <= 1e-9 * expected, `${weights[at]} of ${value}, not ${expected}`);
      });
    }
  });

  test(`${name} picks where a running sum passes`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    const weights = Float64Array.from({ length: 1300 }, (_, at) => (at % 3 === 0 || at > 1200 ? 0 : 1 + (at % 7)));
    const sum = weights.reduce((a, b) => a + b);
    for (let step = 0; step < 1000; step++) {
      const u = step / 1000;
      let reached = 0;
      const expected = weights.findIndex((weight) => {
        reached += weight;
        return reached > u * sum;
      });
      assert.equal(kernels.pick(weights, u), expected);
    }
    assert.equal(kernels.pick(weights, 1), 1199, "the last there is, when rounding leaves nothing beyond");
    assert.equal(kernels.pick(new Float64Array(9), 0.5), 0);
  });
}
