import assert from "node:assert/strict";
import { test } from "node:test";
import type { MatrixShape } from "../formats/index.js";
import { uniformAt } from "../util/index.js";
import { decode, gaussian } from "./codec-conformance.test.kit.js";
import { eigenOfSymmetric, product, transpose } from "./dense.js";
import { addFactors, encodeFactors } from "./factors.js";
import { bestUp, strongestDirections } from "./low-rank.js";
import { withSpectrum } from "./low-rank.test.kit.js";
import { timesTransposed, transposed } from "./products.js";

const length = (values: ArrayLike<number>) =>
  Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0));

/** ‖E − up · down‖ of the approximation of this rank, weighted by a diagonal moment where there is one. */
function errorAt(values: Float32Array, shape: MatrixShape, rank: number, weights?: Float32Array): number {
  const moment =
    weights &&
    Float32Array.from({ length: shape.cols ** 2 }, (_, at) =>
      at % (shape.cols + 1) === 0 ? weights[at % shape.cols]! : 0,
    );
  const e = { ...shape, values };
  const down = strongestDirections(e, rank, moment);
  const hat = timesTransposed(bestUp(e, down, moment), transposed(down)).values;
  return length(values.map((value, i) => (value - hat[i]!) * Math.sqrt(weights?.[i % shape.cols] ?? 1)));
}

const spectra: Readonly<Record<string, (k: number) => number>> = {
  "1/k": (k) => 1 / (k + 1),
  "1/√k": (k) => 1 / Math.sqrt(k + 1),
  "a cliff": (k) => (k < 10 ? 1 : 0.05),
  halving: (k) => 0.5 ** k,
};

for (const [name, of] of Object.entries(spectra)) {
  test(`singular values like ${name}: within 2 % of the least error, wide, tall and square`, () => {
    for (const shape of [
      { rows: 70, cols: 150 },
      { rows: 201, cols: 66 },
      { rows: 64, cols: 64 },
    ]) {
      const spectrum = Array.from({ length: Math.min(shape.rows, shape.cols) }, (_, k) => of(k));
      const values = withSpectrum(shape, spectrum);
      for (const rank of [1, 8, 20]) {
        const best = length(spectrum.slice(rank));
        const error = errorAt(values, shape, rank);
        assert.ok(
          error <= 1.02 * best + 2e-3 * of(0),
          `${shape.rows}×${shape.cols}, rank ${rank}: ${error}, best ${best}`,
        );
      }
    }
  });
}

test("with a moment the weighted error is the least one", () => {
  const shape = { rows: 80, cols: 60 };
  const weights = Float32Array.from({ length: 60 }, (_, i) => 10 ** (-3 * uniformAt(5, i)));
  const spectrum = Array.from({ length: 60 }, (_, k) => 1 / (k + 1));
  // What becomes a matrix of known singular values once its columns are weighted.
  const values = withSpectrum(shape, spectrum).map((value, i) => value / Math.sqrt(weights[i % 60]!));
  for (const rank of [4, 16]) {
    const error = errorAt(values, shape, rank, weights);
    assert.ok(error <= 1.02 * length(spectrum.slice(rank)), `rank ${rank}: ${error}`);
  }
});

test("directions come strongest first, as long as their singular values", () => {
  const shape = { rows: 90, cols: 40 };
  const { rows, values } = strongestDirections({ ...shape, values: withSpectrum(shape, [5, 3, 2, 1]) }, 3);
  const lengths = Array.from({ length: rows }, (_, k) => length(values.subarray(k * 40, (k + 1) * 40)));
  for (const [k, expected] of [5, 3, 2].entries())
    assert.ok(Math.abs(lengths[k]! - expected) < 1e-3, lengths.join(" "));
});

test("a matrix of lower rank has fewer directions, zero none, of any size", () => {
  const shape = { rows: 50, cols: 70 };
  for (const scale of [1e-18, 1e-6, 1, 1e4]) {
    const values = withSpectrum(shape, [3, 2, 1]).map((value) => value * scale);
    assert.equal(strongestDirections({ ...shape, values }, 20).rows, 3, `scale ${scale}`);
  }
  assert.equal(strongestDirections({ ...shape, values: new Float32Array(3500) }, 20).rows, 0);
  assert.equal(strongestDirections({ rows: 1, cols: 1, values: Float32Array.of(2) }, 20).rows, 1);
});

test("factors decode to what their plain product is, for shapes that no block divides", () => {
  for (const [seed, shape] of [
    { rows: 5, cols: 129 },
    { rows: 33, cols: 31 },
    { rows: 1, cols: 7 },
  ].entries()) {
    const e = { ...shape, values: gaussian(shape, seed) };
    for (const dtype of ["q8_0", "q4_0", "f16"] as const) {
      const factors = encodeFactors(e, strongestDirections(e, 3), dtype)!;
      assert.equal(factors.rank, 32);
      const sum = new Float32Array(e.values.length);
      addFactors(sum, factors, shape);
      const expected = decode({ planes: [], factors: [factors] }, shape);
      assert.ok(length(sum.map((value, i) => value - expected[i]!)) <= 1e-4 * length(expected));
    }
  }
});

test("rounding `down` is made up for by the `up` that is best for it", () => {
  const shape = { rows: 120, cols: 96 };
  const values = withSpectrum(
    shape,
    Array.from({ length: 32 }, (_, k) => 0.9 ** k),
  );
  const e = { ...shape, values };
  const error = (dtype: "q8_0" | "q4_0") =>
    length(
      decode({ planes: [], factors: [encodeFactors(e, strongestDirections(e, 32), dtype)!] }, shape).map(
        (value, i) => value - values[i]!,
      ),
    ) / length(values);
  assert.ok(error("q8_0") < 0.012, `${error("q8_0")}`);
  assert.ok(error("q4_0") < 0.15, `${error("q4_0")}`);
});

test("eigenvectors of a symmetric matrix turn it into its eigenvalues", () => {
  const n = 23;
  const half = { n, values: Float64Array.from(gaussian({ rows: n, cols: n }, 1)) };
  const symmetric = product(half, transpose(half));
  const { values, vectors } = eigenOfSymmetric(symmetric);
  const turned = product(product(vectors, symmetric), transpose(vectors));
  for (let i = 0; i < n; i++) {
    assert.ok(i === 0 || values[i]! <= values[i - 1]!);
    for (let j = 0; j < n; j++)
      assert.ok(Math.abs(turned.values[i * n + j]! - (i === j ? values[i]! : 0)) < 1e-6 * values[0]!);
  }
});
