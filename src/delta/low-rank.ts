// The best approximation of a matrix E [rows, cols] by one of low rank, where errors are weighted by the second moment H of the inputs:
// the least tr((E − L) H (E − L)ᵀ). Without H all directions count alike and this is the truncated singular value decomposition.
//
// Subspace iteration finds the row space Q [l, cols] of L: a few rounds of Z ← orthonormal(Z EᵀE H) from random rows. Within it, with
// Q H Qᵀ = R Rᵀ and K = E H Qᵀ R⁻ᵀ, the weighted norm of L is the plain norm of K, so that the eigenvectors W of KᵀK are the directions:
// down = Wᵀ R⁻¹ Q. (Halko, Martinsson and Tropp 2011 for the iteration.)

import { uniformAt } from "../util/index.js";
import { cholesky, eigenOfSymmetric, inverseOfLower, orthonormal, product, type Square, transpose } from "./dense.js";
import { type Matrix, timesTransposed, transposed } from "./products.js";

/** More directions are followed than are wanted, so that the last of these are found well. */
const spareRows = 16;
const rounds = 2;
/** Directions with less of the first one's energy are rounding errors of single precision. */
const energyMin = 1e-6;

/**
 * The directions of the best approximation of `e`, the strongest first, each a row as long as its singular value.
 *
 * @param moment H `[cols, cols]`, symmetric; left out, the identity
 * @returns `[rank, cols]`, with fewer rows where `e` has a lower rank, and none where it is zero
 */
export function strongestDirections(e: Matrix, rank: number, moment?: Float32Array): Matrix {
  const { rows, cols } = e;
  if (rank === 0) return { rows: 0, cols, values: new Float32Array(0) };
  const turned = transposed(e);
  const weigh = (z: Matrix) => (moment ? timesTransposed(z, { rows: cols, cols, values: moment }) : z);
  const throughBoth = (z: Matrix) => timesTransposed(normalised(timesTransposed(z, e)).matrix, turned); // Z EᵀE
  let z = randomRows(Math.min(rank + spareRows, rows, cols), cols);
  for (let round = 0; round < rounds; round++) z = orthonormalRows(weigh(throughBoth(z)));
  const q = orthonormalRows(throughBoth(z));
  if (q.rows === 0) return q;

  const weighted = weigh(q);
  const inverse = inverseOfLower(cholesky(squareOf(timesTransposed(q, weighted)))); // R⁻¹
  const { matrix: t, size } = normalised(timesTransposed(weighted, e)); // (E H Qᵀ)ᵀ
  const gram = product(product(inverse, squareOf(timesTransposed(t, t))), transpose(inverse)); // KᵀK
  const { values: energies, vectors } = eigenOfSymmetric(gram);
  const kept = energies.subarray(0, rank).filter((energy) => energy > energies[0]! * energyMin);
  const lengths = kept.map((energy) => Math.sqrt(energy) * size);
  return combinedRows(product(vectors, inverse), q, lengths);
}

/**
 * The `up` that makes `up · down` closest to `e`, for a `down` that is given.
 *
 * @param down `[rank, cols]`, linearly independent rows but for those that are zero
 * @returns `[rows, rank]`
 */
export function bestUp(e: Matrix, down: Matrix, moment?: Float32Array): Matrix {
  const { rows: rank, cols } = down;
  const weighted = moment ? timesTransposed(down, { rows: cols, cols, values: moment }) : down;
  const { values } = squareOf(timesTransposed(down, weighted));
  // Rows of one size, for what follows is in finite precision; zero rows stay out of it.
  const sizes = Float64Array.from({ length: rank }, (_, i) => Math.sqrt(values[i * rank + i]!));
  const scale = sizes.map((size) => (size > 0 ? 1 / size : 0));
  const even = values.map((value, at) => value * scale[at % rank]! * scale[Math.floor(at / rank)]!);
  for (let i = 0; i < rank; i++) even[i * rank + i] = 1 + 1e-7;
  const inverse = inverseOfLower(cholesky({ n: rank, values: even }));
  const solved = product(transpose(inverse), inverse);
  const symmetric = Float32Array.from(
    solved.values,
    (value, at) => value * scale[at % rank]! * scale[Math.floor(at / rank)]!,
  );
  return timesTransposed(timesTransposed(e, weighted), { rows: rank, cols: rank, values: symmetric });
}

/** Normally distributed rows, always the same. */
function randomRows(rows: number, cols: number): Matrix {
  const values = Float32Array.from({ length: rows * cols }, (_, i) => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniformAt(1, 2 * i)));
    return radius * Math.cos(2 * Math.PI * uniformAt(1, 2 * i + 1));
  });
  return { rows, cols, values };
}

/** A matrix over the magnitude of its largest element: squares of what is left neither vanish nor overflow. */
function normalised({ rows, cols, values }: Matrix): { matrix: Matrix; size: number } {
  let size = 0;
  for (let i = 0; i < values.length; i++) size = Math.max(size, Math.abs(values[i]!));
  return { matrix: { rows, cols, values: size === 0 ? values : values.map((value) => value / size) }, size };
}

function orthonormalRows({ rows, cols, values }: Matrix): Matrix {
  const all = Array.from({ length: rows }, (_, row) =>
    Float64Array.from(values.subarray(row * cols, (row + 1) * cols)),
  );
  const basis = orthonormal(all);
  const flat = new Float32Array(basis.length * cols);
  for (const [row, unit] of basis.entries()) flat.set(unit, row * cols);
  return { rows: basis.length, cols, values: flat };
}

function squareOf({ rows, values }: Matrix): Square {
  return { n: rows, values: Float64Array.from(values) };
}

/** Row i is the sum of q's rows weighted by row i of `weights`, times `sizes[i]`. */
function combinedRows(weights: Square, q: Matrix, sizes: Float64Array): Matrix {
  const own = Float32Array.from({ length: sizes.length * q.rows }, (_, at) => {
    const row = Math.floor(at / q.rows);
    return weights.values[row * weights.n + (at % q.rows)]! * sizes[row]!;
  });
  return timesTransposed({ rows: sizes.length, cols: q.rows, values: own }, transposed(q));
}
