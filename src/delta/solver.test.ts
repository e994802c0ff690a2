import assert from "node:assert/strict";
import { test } from "node:test";
import type { MatrixShape } from "../formats/index.js";
import { type CodeBook, gridBook, signBook } from "./code-book.js";
import type { Calibration } from "./codec.js";
import { gaussian } from "./codec-conformance.test.kit.js";
import { type Solution, valueAt } from "./solution.js";
import { sharedSolver } from "./solver.js";

/** Second moment of inputs that are mixtures of a few directions, as those of a layer are. */
function mixedMoment(cols: number, directions: number): Float32Array {
  const mixture = gaussian({ rows: directions, cols }, 7);
  return Float32Array.from({ length: cols * cols }, (_, at) => {
    const [i, j] = [Math.floor(at / cols), at % cols];
    let sum = i === j ? 0.1 : 0;
    for (let d = 0; d < directions; d++) sum += (mixture[d * cols + i]! * mixture[d * cols + j]!) / directions;
    return sum;
  });
}

/** The nearest code of every weight for a scale that is the mean magnitude of its block. */
function nearest(difference: Float32Array, shape: MatrixShape, book: CodeBook): Solution {
  const blocks = Math.ceil(shape.cols / book.blockSize);
  const scales = new Float64Array(shape.rows * blocks * book.scales);
  for (let at = 0; at < scales.length; at++) scales[at] = 0.75 / 2 ** (at % book.scales);
  const codes = new Uint8Array(difference.length);
  for (let at = 0; at < difference.length; at++) {
    let best = Number.POSITIVE_INFINITY;
    for (let code = 0; code < book.codes; code++) {
      const candidate = { codes: new Uint8Array(difference.length).fill(code), scales };
      const miss = Math.abs(valueAt(candidate, book, shape, at) - difference[at]!);
      if (miss >= best) continue;
      best = miss;
      codes[at] = code;
    }
  }
  return { codes, scales };
}

/** tr(E·H·Eᵀ) + 2·tr(E·Dᵀ) for the difference to what a solution stands for, in double precision. */
function objective(
  difference: Float32Array,
  shape: MatrixShape,
  { moment, drift }: Calibration,
  book: CodeBook,
  solution: Solution,
): number {
  const { rows, cols } = shape;
  const error = difference.map((value, at) => value - valueAt(solution, book, shape, at));
  let sum = 0;
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < cols; i++) {
      let gradient = 2 * (drift?.[row * cols + i] ?? 0);
      for (let j = 0; j < cols; j++) gradient += moment[i * cols + j]! * error[row * cols + j]!;
      sum += gradient * error[row * cols + i]!;
    }
  }
  return sum;
}

const ones = new Float64Array(100).fill(1);

const books: readonly [string, CodeBook][] = [
  ["signs", signBook(1, 32)],
  ["two planes of signs", signBook(2, 32)],
  ["trits", gridBook(-1, 3, 32)],
  ["four whole multiples", gridBook(-1, 4, 32)],
];

for (const [what, book] of books) {
  test(`${what}: every sweep loses less of what the layer does, and nearest codes lose much more`, () => {
    const shape = { rows: 12, cols: 100 };
    const difference = gaussian(shape, 3);
    const calibration = { moment: mixedMoment(100, 20) };
    const solution = nearest(difference, shape, book);
    const losses = [objective(difference, shape, calibration, book, solution)];
    for (let sweep = 0; sweep < 4; sweep++) {
      sharedSolver().solve({ difference, shape, calibration, gains: ones }, book, solution, 1);
      losses.push(objective(difference, shape, calibration, book, solution));
    }
    for (let sweep = 1; sweep < losses.length; sweep++)
      assert.ok(losses[sweep]! <= losses[sweep - 1]! * 1.001, `${losses}`);
    assert.ok(losses.at(-1)! < 0.6 * losses[0]!, `${losses}`);
  });
}

test("makes up for what the layers before it do not do", () => {
  const shape = { rows: 6, cols: 64 };
  const book = signBook(2, 32);
  const difference = gaussian(shape, 3);
  const drift = gaussian(shape, 4).map((value) => value / 2);
  const plain = { moment: mixedMoment(64, 16) };
  const drifting = { ...plain, drift };
  const [without, aware] = [plain, drifting].map((calibration) => {
    const solution = nearest(difference, shape, book);
    sharedSolver().solve({ difference, shape, calibration, gains: ones }, book, solution, 4);
    return objective(difference, shape, drifting, book, solution);
  });
  assert.ok(aware! < without!, `${aware} with the drift known, ${without} without`);
});

test("finds a difference that its codes can say exactly", () => {
  const shape = { rows: 4, cols: 70 };
  const difference = gaussian(shape, 5).map((value) => (value < 0 ? -0.5 : 0.5));
  const solution = nearest(difference, shape, signBook(1, 32));
  const calibration = { moment: mixedMoment(70, 30) };
  sharedSolver().solve({ difference, shape, calibration, gains: ones }, signBook(1, 32), solution, 8);
  for (let at = 0; at < difference.length; at++) {
    assert.equal(valueAt(solution, signBook(1, 32), shape, at), difference[at]);
  }
});

test("inputs that were never seen leave the scales finite", () => {
  const shape = { rows: 3, cols: 40 };
  const difference = gaussian(shape, 6);
  for (const moment of [new Float32Array(1600), Float32Array.from({ length: 1600 }, (_, at) => Number(at === 0))]) {
    const solution = nearest(difference, shape, signBook(2, 32));
    sharedSolver().solve({ difference, shape, calibration: { moment }, gains: ones }, signBook(2, 32), solution, 3);
    assert.ok(solution.scales.every(Number.isFinite));
  }
});
