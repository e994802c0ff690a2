import { storePlane } from "../formats/index.js";
import { addEncoded } from "./decoded.js";
import type { MatrixPair } from "./difference.js";
import { type Matrix, timesTransposed } from "./products.js";
import { signWithin } from "./sign.js";
import type { PlaneCount } from "./sign-levels.js";

/** What an error e in a row of a matrix costs: `output · e·H·eᵀ + input · ‖e‖²`, H being the second moment of the matrix's inputs. */
export interface RowCosts {
  /** One a row. */
  readonly output: Float64Array;
  readonly input: number;
}

/** What a number of planes makes of rows of a matrix. */
export interface Trial {
  /** Bytes on disk. */
  readonly bytes: number;
  /** What the rows' errors cost in sum, by each measure of costs. */
  readonly losses: readonly number[];
}

/** What became of rows of a matrix. */
export interface Trials {
  /** What is lost if nothing is stored of the difference. */
  readonly untouched: readonly number[];
  /** By number of planes. */
  readonly trials: readonly Trial[];
}

/** Passes of the solver: later ones change what is lost by about as much for any number of planes. */
const sweeps = 2;

/** Encodes rows of a matrix in several numbers of planes, on nothing but the second moment of their inputs. */
export function tryPlanes(pair: MatrixPair, counts: readonly PlaneCount[], costs: readonly RowCosts[]): Trials {
  const { base, tuned, shape, kind, calibration } = pair;
  const difference = base.map((value, i) => tuned[i]! - value);
  const lossesOf = (values: Float32Array) => weigh({ ...shape, values }, costs, calibration?.moment);
  const trials = counts.map((planes) => {
    const encoded = signWithin({ planes, sweeps }).encode(difference, shape, kind, calibration);
    const lost = difference.map((value) => -value);
    addEncoded(lost, encoded, shape);
    const stored = encoded.planes.map(({ dtype, bytes }, index) => storePlane("trial", index, dtype, shape, bytes));
    const bytes = stored.reduce((sum, { stored }) => sum + stored.length, 0);
    return { bytes, losses: lossesOf(lost) };
  });
  return { untouched: lossesOf(difference), trials };
}

function weigh(lost: Matrix, costs: readonly RowCosts[], moment: Float32Array | undefined): number[] {
  const { rows, cols, values } = lost;
  const weighted = moment ? timesTransposed(lost, { rows: cols, cols, values: moment }).values : values;
  const losses = costs.map(() => 0);
  for (let row = 0; row < rows; row++) {
    let [energy, square] = [0, 0];
    for (let at = row * cols; at < (row + 1) * cols; at++) {
      energy += values[at]! * weighted[at]!;
      square += values[at]! ** 2;
    }
    costs.forEach(({ output, input }, index) => {
      losses[index]! += output[row]! * energy + input * square;
    });
  }
  return losses;
}
