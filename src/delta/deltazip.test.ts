import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidRequest } from "../core/index.js";
import { decode, describeCodec, gaussian } from "./codec-conformance.test.kit.js";
import { createCodec } from "./codecs.js";

describeCodec("deltazip, 4 bits", createCodec("deltazip"), { gaussian: 0.4, laplace: 0.35 });
describeCodec("deltazip, 2 bits", createCodec("deltazip", { bits: 2 }), { gaussian: 0.95, laplace: 1 });

const shape = { rows: 8, cols: 64 };
const difference = gaussian(shape, 3);

test("keeps two of every four weights, in whole multiples of a row's scale", () => {
  for (const [bits, highest] of [
    [2, 1],
    [4, 7],
  ] as const) {
    const decoded = decode(createCodec("deltazip", { bits }).encode(difference, shape, "linear"), shape);
    for (let row = 0; row < shape.rows; row++) {
      const own = decoded.subarray(row * shape.cols, (row + 1) * shape.cols);
      const largest = difference
        .subarray(row * shape.cols, (row + 1) * shape.cols)
        .reduce((max, value) => Math.max(max, Math.abs(value)), 0);
      for (const value of own) {
        const multiple = (value * highest) / largest;
        assert.ok(Math.abs(multiple - Math.round(multiple)) < 0.01, `${multiple}`);
      }
      for (let first = 0; first < shape.cols; first += 4) {
        assert.ok(own.subarray(first, first + 4).filter((value) => value !== 0).length <= 2);
      }
    }
  }
});

test("makes up for what it leaves out where inputs go together", () => {
  const direction = gaussian({ rows: 1, cols: shape.cols }, 5);
  const moment = Float32Array.from({ length: shape.cols ** 2 }, (_, at) => {
    const [i, j] = [Math.floor(at / shape.cols), at % shape.cols];
    return direction[i]! * direction[j]! + (i === j ? 0.1 : 0);
  });
  const miss = (decoded: Float32Array) => {
    let sum = 0;
    for (let row = 0; row < shape.rows; row++) {
      let along = 0;
      for (let col = 0; col < shape.cols; col++) {
        const error = difference[row * shape.cols + col]! - decoded[row * shape.cols + col]!;
        along += error * direction[col]!;
        sum += 0.1 * error ** 2;
      }
      sum += along ** 2;
    }
    return sum;
  };
  const codec = createCodec("deltazip");
  const plain = miss(decode(codec.encode(difference, shape, "linear"), shape));
  const aware = miss(decode(codec.encode(difference, shape, "linear", { moment }), shape));
  assert.ok(aware < 0.5 * plain, `${aware} with the inputs known, ${plain} without`);
});

test("decides as the column by column form with the inverse of the moment does", () => {
  const shape = { rows: 12, cols: 203 };
  const difference = gaussian(shape, 7);
  const inputs = gaussian({ rows: 150, cols: shape.cols }, 8).map((value, at) => value + 2 * Math.sin(at % 7));
  const moment = new Float32Array(shape.cols ** 2);
  for (let token = 0; token < 150; token++) {
    const input = inputs.subarray(token * shape.cols, (token + 1) * shape.cols);
    for (let at = 0; at < moment.length; at++)
      moment[at]! += input[Math.floor(at / shape.cols)]! * input[at % shape.cols]!;
  }
  for (const [bits, highest] of [
    [2, 1],
    [4, 7],
  ] as const) {
    const decoded = decode(createCodec("deltazip", { bits }).encode(difference, shape, "linear", { moment }), shape);
    const expected = columnByColumn(difference, shape, moment, highest);
    const differing = decoded.filter((value, at) => Math.abs(value - expected[at]!) > 0.01).length;
    // What lies half-way between two multiples may go to either.
    assert.ok(differing <= 0.002 * decoded.length, `${bits} bits: ${differing} of ${decoded.length} differ`);
  }
});

/** Of each group of four columns the two that matter are kept; every column's error goes to the later ones, by what is left of H⁻¹. */
function columnByColumn(
  difference: Float32Array,
  { rows, cols }: { rows: number; cols: number },
  moment: Float32Array,
  highest: number,
): Float64Array {
  const left = Float64Array.from(difference);
  const rounded = new Float64Array(left.length);
  const scales = Array.from(
    { length: rows },
    (_, row) => Math.max(...difference.subarray(row * cols, (row + 1) * cols).map(Math.abs)) / highest,
  );
  const energy = Array.from({ length: cols }, (_, i) => moment[i * (cols + 1)]!).reduce((sum, value) => sum + value);
  const damped = Float64Array.from(moment, (value, at) => value + (at % (cols + 1) === 0 ? (0.01 * energy) / cols : 0));
  const inverses = remainingInverses(damped, cols);
  for (let first = 0; first < cols; first += 4) {
    const group = Array.from({ length: Math.min(4, cols - first) }, (_, j) => first + j);
    for (let row = 0; row < rows; row++) {
      const cost = (j: number) => left[row * cols + j]! ** 2 / inverses[j]![0]!;
      const kept = group.toSorted((a, b) => cost(b) - cost(a)).slice(0, 2);
      for (const j of group) {
        const at = row * cols + j;
        const multiple = kept.includes(j) ? Math.round(left[at]! / scales[row]!) : 0;
        rounded[at] = Math.min(highest, Math.max(-highest - 1, multiple)) * scales[row]!;
        const lost = (left[at]! - rounded[at]!) / inverses[j]![0]!;
        for (let k = 0; k < cols - j; k++) left[at + k]! -= lost * inverses[j]![k]!;
      }
    }
  }
  return rounded;
}

/** For each column, its row of the inverse of H without the columns before it, from its diagonal on. */
function remainingInverses(h: Float64Array, n: number): Float64Array[] {
  const inverse = inverseOf(h, n);
  return Array.from({ length: n }, (_, j) => {
    const own = inverse.slice(j * n + j, (j + 1) * n);
    for (let row = j + 1; row < n; row++) {
      const factor = inverse[row * n + j]! / own[0]!;
      for (let col = j; col < n; col++) inverse[row * n + col]! -= factor * own[col - j]!;
    }
    return own;
  });
}

/** By Gauss and Jordan, without pivoting. */
function inverseOf(h: Float64Array, n: number): Float64Array {
  const a = h.slice();
  const inverse = Float64Array.from({ length: n * n }, (_, at) => Number(at % (n + 1) === 0));
  for (let i = 0; i < n; i++) {
    const pivot = a[i * n + i]!;
    for (let col = 0; col < n; col++) {
      a[i * n + col]! /= pivot;
      inverse[i * n + col]! /= pivot;
    }
    for (let row = 0; row < n; row++) {
      if (row === i) continue;
      const factor = a[row * n + i]!;
      for (let col = 0; col < n; col++) {
        a[row * n + col]! -= factor * a[i * n + col]!;
        inverse[row * n + col]! -= factor * inverse[i * n + col]!;
      }
    }
  }
  return inverse;
}

test("takes a moment of inputs that were never there as none", () => {
  const codec = createCodec("deltazip");
  const moment = new Float32Array(shape.cols ** 2);
  assert.deepEqual(codec.encode(difference, shape, "linear", { moment }), codec.encode(difference, shape, "linear"));
});

test("refuses bits that it does not have", () => {
  assert.throws(() => createCodec("deltazip", { bits: 3 }), InvalidRequest);
});
