// Small square matrices in double precision, row-major: what low-rank factors need beside the large products.

/** A square matrix, `[n, n]`. */
export interface Square {
  readonly n: number;
  readonly values: Float64Array;
}

/**
 * Makes rows orthonormal, in order, by Gram–Schmidt done twice. A row that depends on those before it is dropped.
 *
 * @param rows each of one length; they are used up
 * @returns as many rows or fewer
 */
export function orthonormal(rows: readonly Float64Array[]): Float64Array[] {
  const basis: Float64Array[] = [];
  for (const row of rows) {
    const before = Math.sqrt(dot(row, row));
    for (let pass = 0; pass < 2; pass++) {
      for (const unit of basis) addScaled(row, unit, -dot(row, unit));
    }
    const after = Math.sqrt(dot(row, row));
    // Beyond double precision nothing but rounding is left.
    if (!(after > before * 1e-12)) continue;
    for (let i = 0; i < row.length; i++) row[i]! /= after;
    basis.push(row);
  }
  return basis;
}

/**
 * The lower triangle R with `R·Rᵀ = a`, for a symmetric `a` whose diagonal is not negative. Where rounding has made `a` indefinite, a
 * pivot is raised to a millionth of its diagonal.
 */
export function cholesky({ n, values }: Square): Square {
  const factor = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = values[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= factor[i * n + k]! * factor[j * n + k]!;
      if (i === j) factor[i * n + i] = Math.sqrt(Math.max(sum, values[i * n + i]! * 1e-6, Number.MIN_VALUE));
      else factor[i * n + j] = sum / factor[j * n + j]!;
    }
  }
  return { n, values: factor };
}

/** The inverse of a lower triangle, row after row. */
export function inverseOfLower({ n, values }: Square): Square {
  const inverse = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) {
      const factor = values[i * n + k]!;
      for (let column = 0; column <= k; column++) inverse[i * n + column]! -= factor * inverse[k * n + column]!;
    }
    inverse[i * n + i] = 1;
    for (let column = 0; column <= i; column++) inverse[i * n + column]! /= values[i * n + i]!;
  }
  return { n, values: inverse };
}

/** `a · b` */
export function product(a: Square, b: Square): Square {
  const { n } = a;
  const values = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const row = values.subarray(i * n, (i + 1) * n);
    for (let k = 0; k < n; k++) addScaled(row, b.values.subarray(k * n, (k + 1) * n), a.values[i * n + k]!);
  }
  return { n, values };
}

export function transpose({ n, values }: Square): Square {
  return { n, values: Float64Array.from(values, (_, at) => values[(at % n) * n + Math.floor(at / n)]!) };
}

/**
 * Eigenvalues of a symmetric matrix, the largest first, and their eigenvectors as rows, by Jacobi's rotations. O(n³) a sweep, and six
 * to ten sweeps.
 */
export function eigenOfSymmetric({ n, values }: Square): { values: Float64Array; vectors: Square } {
  const a = values.slice();
  const vectors = new Float64Array(n * n);
  for (let i = 0; i < n; i++) vectors[i * n + i] = 1;
  for (let sweep = 0; sweep < 30 && offDiagonal(a, n) > 1e-16; sweep++) {
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) rotate(a, vectors, n, p, q);
    }
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => a[j * n + j]! - a[i * n + i]!);
  const sorted = new Float64Array(n * n);
  for (const [to, from] of order.entries()) sorted.set(vectors.subarray(from * n, (from + 1) * n), to * n);
  return { values: Float64Array.from(order, (i) => a[i * n + i]!), vectors: { n, values: sorted } };
}

/** Turns rows and columns p and q so that their common element vanishes. */
function rotate(a: Float64Array, vectors: Float64Array, n: number, p: number, q: number): void {
  const common = a[p * n + q]!;
  if (common === 0) return;
  const theta = (a[q * n + q]! - a[p * n + p]!) / (2 * common);
  const tangent = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const cosine = 1 / Math.sqrt(tangent * tangent + 1);
  const sine = tangent * cosine;
  for (let k = 0; k < n; k++) {
    const [kp, kq] = [a[k * n + p]!, a[k * n + q]!];
    a[k * n + p] = cosine * kp - sine * kq;
    a[k * n + q] = sine * kp + cosine * kq;
  }
  turnRows(a, n, p, q, cosine, sine);
  turnRows(vectors, n, p, q, cosine, sine);
}

function turnRows(a: Float64Array, n: number, p: number, q: number, cosine: number, sine: number): void {
  for (let k = 0; k < n; k++) {
    const pk = a[p * n + k]!;
    const qk = a[q * n + k]!;
    a[p * n + k] = cosine * pk - sine * qk;
    a[q * n + k] = sine * pk + cosine * qk;
  }
}

/** The share of a matrix's energy that is off its diagonal. */
function offDiagonal(a: Float64Array, n: number): number {
  let off = 0;
  let all = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const square = a[i * n + j]! ** 2;
      all += square;
      if (i !== j) off += square;
    }
  }
  return all === 0 ? 0 : off / all;
}

/** In four sums, since an addition waits for the one before it. */
function dot(a: Float64Array, b: Float64Array): number {
  const { length } = a;
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  let i = 0;
  for (; i + 3 < length; i += 4) {
    s0 += a[i]! * b[i]!;
    s1 += a[i + 1]! * b[i + 1]!;
    s2 += a[i + 2]! * b[i + 2]!;
    s3 += a[i + 3]! * b[i + 3]!;
  }
  for (; i < length; i++) s0 += a[i]! * b[i]!;
  return s0 + s1 + s2 + s3;
}

function addScaled(into: Float64Array, values: Float64Array, factor: number): void {
  for (let i = 0; i < into.length; i++) into[i]! += values[i]! * factor;
}
