// The suite that every codec passes.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type MatrixShape, paddedCols, planeBytes } from "../formats/index.js";
import { toFloat32 } from "../ggml/index.js";
import { uniformAt } from "../util/index.js";
import { type DeltaCodec, type EncodedTensor, InvalidDifference, type MatrixKind } from "./codec.js";
import { addPlane } from "./planes.js";

/** What a codec promises beside what all of them do: ‖Δ − Δ̂‖ / ‖Δ‖ of a linear layer, at most. */
export interface CodecPromise {
  readonly gaussian: number;
  readonly laplace: number;
}

const kinds: readonly MatrixKind[] = ["linear", "embedding", "head"];

/** Shapes that blocks of 128 or 256 divide, and shapes that nothing does. */
const shapes: readonly MatrixShape[] = [
  { rows: 4, cols: 512 },
  { rows: 1, cols: 1 },
  { rows: 3, cols: 7 },
  { rows: 5, cols: 129 },
  { rows: 2, cols: 255 },
  { rows: 7, cols: 576 },
];

/** Registers the tests of one codec. */
export function describeCodec(title: string, codec: DeltaCodec, promise: CodecPromise): void {
  describe(title, () => {
    test("gives planes of one dtype and factors of several, whole blocks a row, for any shape and role", () => {
      for (const kind of kinds) {
        for (const shape of shapes) {
          const { planes, factors = [] } = codec.encode(gaussian(shape, 1), shape, kind);
          const title = `${kind} [${shape.rows}, ${shape.cols}]`;
          assert.ok(planes.length + factors.length > 0, title);
          for (const { dtype, bytes } of planes) {
            assert.equal(dtype, planes[0]!.dtype);
            assert.equal(bytes.length, planeBytes(dtype, shape), title);
          }
          for (const { dtype, rank, down, up } of factors) {
            assert.equal(down.length, planeBytes(dtype, { rows: rank, cols: shape.cols }), title);
            assert.equal(up.length, planeBytes(dtype, { rows: shape.rows, cols: rank }), title);
          }
          assert.equal(new Set(factors.map(({ dtype, rank }) => `${dtype} ${rank}`)).size, factors.length, title);
        }
      }
    });

    test("decodes for any shape to what is nearer than nothing", () => {
      for (const shape of shapes) {
        const error = relativeError(codec, gaussian(shape, 9), shape);
        assert.ok(error < 1, `[${shape.rows}, ${shape.cols}]: ${error}`);
      }
    });

    test("gives the same bytes for the same difference", () => {
      const shape = { rows: 6, cols: 300 };
      for (const kind of kinds) {
        assert.deepEqual(codec.encode(laplace(shape, 2), shape, kind), codec.encode(laplace(shape, 2), shape, kind));
      }
    });

    test("leaves the difference as it was", () => {
      const shape = { rows: 3, cols: 200 };
      const difference = gaussian(shape, 3);
      codec.encode(difference, shape, "linear");
      assert.deepEqual(difference, gaussian(shape, 3));
    });

    test("keeps the error of a linear layer within its promise", () => {
      const shape = { rows: 64, cols: 1024 };
      const errors = {
        gaussian: relativeError(codec, gaussian(shape, 4), shape),
        laplace: relativeError(codec, laplace(shape, 5), shape),
      };
      assert.ok(errors.gaussian <= promise.gaussian, `Gaussian ${errors.gaussian}`);
      assert.ok(errors.laplace <= promise.laplace, `Laplace ${errors.laplace}`);
    });

    test("errs as little whatever the size of the difference, down to half precision's limits", () => {
      const shape = { rows: 32, cols: 512 };
      for (const scale of [1e-5, 1e-3, 1, 1e3]) {
        const error = relativeError(
          codec,
          gaussian(shape, 6).map((value) => value * scale),
          shape,
        );
        assert.ok(error <= promise.gaussian * 1.02, `scale ${scale}: ${error}`);
      }
    });

    test("never gets worse by another plane of its own, or by its factors", () => {
      const shape = { rows: 8, cols: 640 };
      const difference = laplace(shape, 7);
      const { planes, factors = [] } = codec.encode(difference, shape, "linear");
      const less = [
        ...planes.map((_, last) => ({ planes: planes.slice(0, last + 1) })),
        ...factors.map((_, last) => ({ planes, factors: factors.slice(0, last + 1) })),
      ];
      const errors = less.map((encoded) => distance(difference, decode(encoded, shape)));
      assert.deepEqual(
        errors,
        errors.toSorted((a, b) => b - a),
      );
    });

    test("keeps zero a zero", () => {
      const shape = { rows: 3, cols: 300 };
      for (const kind of kinds) {
        const decoded = decode(codec.encode(new Float32Array(900), shape, kind), shape);
        assert.ok(decoded.every((value) => value === 0));
      }
    });

    test("refuses what is not finite, and says where", () => {
      const shape = { rows: 3, cols: 130 };
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e6]) {
        const difference = gaussian(shape, 8);
        difference[2 * 130 + 128] = value;
        for (const kind of kinds) {
          assert.throws(
            () => codec.encode(difference, shape, kind),
            (error) => error instanceof InvalidDifference && error.details.row === 2 && error.details.column === 128,
          );
        }
      }
    });
  });
}

/** ‖Δ − Δ̂‖ / ‖Δ‖ for a linear layer. */
export function relativeError(codec: DeltaCodec, difference: Float32Array, shape: MatrixShape): number {
  const decoded = decode(codec.encode(difference, shape, "linear"), shape);
  return distance(difference, decoded) / distance(difference, new Float32Array(difference.length));
}

/** The sum of the decoded planes and of the products of decoded factors, the slow way. */
export function decode({ planes, factors = [] }: EncodedTensor, shape: MatrixShape): Float32Array {
  const sum = new Float32Array(shape.rows * shape.cols);
  for (const { dtype, bytes } of planes) addPlane(sum, dtype, bytes, shape);
  for (const { dtype, rank, down, up } of factors) {
    const [width, length] = [paddedCols(dtype, rank), paddedCols(dtype, shape.cols)];
    const right = toFloat32(dtype, down, rank * length);
    const left = toFloat32(dtype, up, shape.rows * width);
    for (let row = 0; row < shape.rows; row++) {
      for (let k = 0; k < rank; k++) {
        for (let col = 0; col < shape.cols; col++)
          sum[row * shape.cols + col]! += left[row * width + k]! * right[k * length + col]!;
      }
    }
  }
  return sum;
}

/** Normally distributed values with deviation 1. */
export function gaussian({ rows, cols }: MatrixShape, seed: number): Float32Array {
  return Float32Array.from({ length: rows * cols }, (_, i) => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniformAt(seed, 2 * i)));
    return radius * Math.cos(2 * Math.PI * uniformAt(seed, 2 * i + 1));
  });
}

/** Values with exponential tails, as differences of real fine-tunes have. */
export function laplace({ rows, cols }: MatrixShape, seed: number): Float32Array {
  return Float32Array.from({ length: rows * cols }, (_, i) => {
    const centred = uniformAt(seed, i) - 0.5;
    return -Math.sign(centred) * Math.log(1 - 2 * Math.abs(centred));
  });
}

function distance(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return Math.sqrt(sum);
}
