import { storePlane } from "../formats/index.js";
import type { DeltaCodec } from "./codec.js";
import { addEncoded } from "./decoded.js";
import type { MatrixPair } from "./difference.js";
import { type Matrix, timesTransposed } from "./products.js";

/** What an error e in a row of a matrix costs: `output · e·H·eᵀ + input · ‖e‖²`, H being the second moment of the matrix's inputs. */
export interface RowCosts {
  /** One a row. */
  readonly output: Float64Array;
  readonly input: number;
}

/** What a codec makes of rows of a matrix. */
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
  /** By codec. */
  readonly trials: readonly Trial[];
}

/** Encodes rows of a matrix with several codecs, on nothing but the second moment of their inputs. */
export function tryCodecs(pair: MatrixPair, codecs: readonly DeltaCodec[], costs: readonly RowCosts[]): Trials {
  const { base, tuned, shape, kind, calibration } = pair;
  const difference = base.map((value, i) => tuned[i]! - value);
  const lossesOf = (values: Float32Array) => weigh({ ...shape, values }, costs, calibration?.moment);
  const trials = codecs.map((codec) => {
    const encoded = codec.encode(difference, shape, kind, calibration);
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
