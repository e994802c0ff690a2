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

test("refuses bits that it does not have", () => {
  assert.throws(() => createCodec("deltazip", { bits: 3 }), InvalidRequest);
});
