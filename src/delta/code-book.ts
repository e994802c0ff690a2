/**
 * What values a code may stand for: of each block of weights, `scales` numbers s are kept, and code c stands for
 * Σ s_k · basis[c][k]. Signs are {+1, −1}, trits {−1, 0, 1}, two planes of signs {(1, 1), (1, −1), (−1, 1), (−1, −1)}.
 */
export interface CodeBook {
  /** Weights that share scales. */
  readonly blockSize: number;
  readonly codes: number;
  readonly scales: number;
  /** Code by code: `basis[code * scales + k]`. */
  readonly basis: Float64Array;
}

/** One to four planes of signs; bit k of a code is set where plane k adds its scale. */
export function signBook(planes: number, blockSize: number): CodeBook {
  const codes = 1 << planes;
  const basis = Float64Array.from({ length: codes * planes }, (_, at) => {
    const [code, plane] = [Math.floor(at / planes), at % planes];
    return (code >> plane) & 1 ? 1 : -1;
  });
  return { blockSize, codes, scales: planes, basis };
}

/** Whole multiples of one scale, from `lowest` on; code 0 is the lowest. */
export function gridBook(lowest: number, codes: number, blockSize: number): CodeBook {
  return { blockSize, codes, scales: 1, basis: Float64Array.from({ length: codes }, (_, code) => lowest + code) };
}
