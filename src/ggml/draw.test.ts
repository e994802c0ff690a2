// Tokens drawn in a graph, held against drawing them one by one.

import assert from "node:assert/strict";
import { test } from "node:test";
import { runOnce } from "./compute-once.js";
import { Device } from "./device.js";
import { type Draw, drawRows, packDraws } from "./draw.js";
import { noise } from "./evaluate.test.kit.js";
import { GraphMemory } from "./graph-memory.js";
import { loadKernels } from "./kernels.js";

const vocabulary = 1003;
const draws: readonly (Draw | undefined)[] = [
  { words: vocabulary, temperature: 0, u: 0.5 },
  undefined,
  { words: vocabulary, temperature: 1, u: 0.999 },
  { words: 700, temperature: 0, u: 0 },
  { words: 17, temperature: 0.3, u: 0.7 },
  { words: vocabulary, temperature: 2.5, u: 0 },
  { words: vocabulary, temperature: 0.8, u: 0.25 },
];

for (const name of ["avx512vnni", "avx2", "neon", "scalar"]) {
  test(`${name} draws a token for each row that has a draw, whatever the threads`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    const logits = noise(vocabulary * draws.length, 5).map((value) => value * 12);
    const expected = draws.map((draw, row) => {
      if (!draw) return undefined;
      const own = logits.subarray(row * vocabulary, row * vocabulary + draw.words);
      const likeliest = own.indexOf(Math.max(...own));
      if (draw.temperature === 0) return likeliest;
      const weights = Float64Array.from(own, (logit) => Math.exp((logit - own[likeliest]!) / draw.temperature));
      const target = draw.u * weights.reduce((a, b) => a + b);
      let reached = 0;
      return weights.findIndex((weight) => {
        reached += weight;
        return reached > target;
      });
    });
    for (const threads of [1, 3]) {
      using device = Device.open({ kind: "cpu", threads, kernels });
      using memory = new GraphMemory(device);
      const tokens = runOnce({ device, memory }, (g, input) => {
        const drawn = drawRows(g, kernels, {
          logits: input("f32", [vocabulary, draws.length], logits),
          draws: input("i32", [6 * draws.length], packDraws(draws)),
          threads,
        });
        g.output(drawn);
        const into = new Int32Array(draws.length);
        return () => {
          drawn.read(into);
          return [...into];
        };
      });
      expected.forEach((token, row) => {
        if (token !== undefined) assert.equal(tokens[row], token, `row ${row}`);
      });
    }
  });
}
