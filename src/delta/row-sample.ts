/** Rows that stand for all of a matrix. */
export interface RowSample {
  readonly numbers: Int32Array;
  /** How many rows each stands for. */
  readonly shares: Float64Array;
}

const rowsMin = 64;
/** Of larger matrices, one row in so many. */
const oneIn = 16;

/**
 * Chooses rows of a matrix: half of them those that weigh most, each for itself, since a few words may weigh more than all others, and
 * the other half evenly from the rest.
 *
 * @param measures weights of the rows, by one measure or several that count the same
 */
export function chooseRows(measures: readonly Float64Array[]): RowSample {
  const rows = measures[0]!.length;
  const weights = new Float64Array(rows);
  for (const measure of measures) {
    const sum = measure.reduce((sum, weight) => sum + weight, 0);
    if (sum > 0) for (let row = 0; row < rows; row++) weights[row]! += measure[row]! / sum;
  }
  const count = Math.min(rows, Math.max(rowsMin, Math.ceil(rows / oneIn)));
  const order = Array.from({ length: rows }, (_, row) => row).sort((a, b) => weights[b]! - weights[a]! || a - b);
  const heaviest = count === rows ? count : count >> 1;
  const rest = order.slice(heaviest).sort((a, b) => a - b);
  const evenly = Array.from({ length: count - heaviest }, (_, at) => {
    return rest[Math.floor(((at + 0.5) * rest.length) / (count - heaviest))]!;
  });
  const share = rest.length / (count - heaviest);
  return {
    numbers: Int32Array.from([...order.slice(0, heaviest), ...evenly]),
    shares: Float64Array.from({ length: count }, (_, at) => (at < heaviest ? 1 : share)),
  };
}
