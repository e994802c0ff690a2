import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Device } from "./device.js";
import { assertClose, evaluate, type Input, noise } from "./evaluate.test.kit.js";
import { product, rearrange, rmsNormBack, siluBack, softMax, softMaxBack, sumRows, transpose } from "./gradients.js";
import type { Graph } from "./graph.js";
import type { Tensor } from "./tensor.js";

const device = Device.open({ kind: "cpu", threads: 1 });
after(() => device[Symbol.dispose]());

test("product multiplies page by page, and pages of the first repeat", () => {
  const [k, m, n] = [3, 2, 4];
  const a = noise(k * m * 2, 1);
  const b = noise(k * n * 4, 2);
  const actual = evaluate(device, (g, input) => product(g, input("f32", [k, m, 2], a), input("f32", [k, n, 4], b)));
  const expected = Array.from({ length: m * n * 4 }, (_, at) => {
    const [i, j, page] = [at % m, Math.floor(at / m) % n, Math.floor(at / (m * n))];
    const first = a.slice((Math.floor(page / 2) * m + i) * k);
    const second = b.slice((page * n + j) * k);
    return [0, 1, 2].reduce((sum, inner) => sum + first[inner]! * second[inner]!, 0);
  });
  assertClose(actual, expected);
});

test("rearrange writes dimensions out in another order, and transpose exchanges the first two", () => {
  const x = noise(2 * 3 * 4, 1);
  const turned = evaluate(device, (g, input) => rearrange(g, input("f32", [2, 3, 4], x), [1, 2, 0, 3])); // [4, 2, 3]
  assert.deepEqual(
    [...turned],
    Array.from(x, (_, at) => x[(Math.floor(at / 4) % 2) + 2 * Math.floor(at / 8) + 6 * (at % 4)]),
  );
  const swapped = evaluate(device, (g, input) => transpose(g, input("f32", [4, 6], x)));
  assert.deepEqual(
    [...swapped],
    Array.from(x, (_, at) => x[Math.floor(at / 6) + 4 * (at % 6)]),
  );
});

test("sumRows sums each row", () => {
  const sums = evaluate(device, (g, input) => sumRows(g, input("f32", [3, 2], [1, 2, 3, 4, 5, 6])));
  assert.deepEqual([...sums], [6, 15]);
});

test("softMax gives a row's shares under the mask, and nothing to what the mask forbids", () => {
  const mask = [0, Number.NEGATIVE_INFINITY, 0, 0];
  const shares = evaluate(device, (g, input) =>
    softMax(g, input("f32", [2, 2], [5, 9, 0, Math.log(3)]), input("f32", [2, 2], mask), 1),
  );
  assertClose(shares, [1, 0, 0.25, 0.75]);
});

/**
 * Holds a derivative against the slopes of Σ weights · f(x) at x, element by element.
 *
 * @param back the gradient of x from that of f(x), which is `weights`
 */
function assertDerivative(
  f: (g: Graph, x: Tensor, input: Input) => Tensor,
  back: (g: Graph, weights: Tensor, x: Tensor, input: Input) => Tensor,
): void {
  const shape = [6, 3];
  const x = noise(18, 1);
  const weights = noise(18, 2);
  const gradient = evaluate(device, (g, input) => back(g, input("f32", shape, weights), input("f32", shape, x), input));
  const value = (at: number, step: number) => {
    const moved = x.slice();
    moved[at]! += step;
    const result = evaluate(device, (g, input) => f(g, input("f32", shape, moved), input));
    return result.reduce((sum, element, i) => sum + element * weights[i]!, 0);
  };
  const slopes = Array.from(x, (_, at) => (value(at, 1e-2) - value(at, -1e-2)) / 2e-2);
  assertClose(gradient, slopes, 1e-3);
}

test("softMaxBack, rmsNormBack and siluBack are the slopes of what they are called after", () => {
  const open = new Float32Array(18);
  const shares = (g: Graph, x: Tensor, input: Input) => softMax(g, x, input("f32", [6, 3], open), 0.7);
  assertDerivative(shares, (g, weights, x, input) => softMaxBack(g, weights, shares(g, x, input), 0.7));
  assertDerivative(
    (g, x) => g.rmsNorm(x, 1e-5),
    (g, weights, x) => rmsNormBack(g, weights, x, 1e-5),
  );
  assertDerivative(
    (g, x, input) => g.swiglu(x, input("f32", [6, 3], new Float32Array(18).fill(1))),
    (g, weights, x) => siluBack(g, weights, x),
  );
});

test("operands that do not fit are refused before ggml sees them", () => {
  const refused = (build: (g: Graph, input: Input) => Tensor, message: RegExp) =>
    assert.throws(() => evaluate(device, build), message);
  const x = (input: Input, shape: readonly number[]) =>
    input("f32", shape, new Float32Array(shape.reduce((a, b) => a * b)));
  refused((g, input) => product(g, x(input, [3, 2]), x(input, [4, 2])), /product: shapes do not fit/);
  refused((g, input) => product(g, x(input, [3, 2, 2]), x(input, [3, 2, 3])), /product: shapes do not fit/);
  refused((g, input) => rearrange(g, x(input, [3, 2]), [0, 0, 1, 2]), /cannot rearrange/);
  refused((g, input) => softMax(g, x(input, [3, 2]), x(input, [3, 3]), 1), /mask does not match/);
  refused((g, input) => siluBack(g, x(input, [3, 2]), x(input, [2, 3])), /of one shape/);
});
