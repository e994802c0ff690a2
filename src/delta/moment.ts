/**
 * What every weight counts for itself, as a share of the mean energy of the inputs. It stands for inputs that the calibration text does
 * not have: with a twentieth instead of one, as is usual for quantising whole models, the divergence from the fine-tunes in models/tiny
 * is twice as large, since what is lost gathers where the text has little energy.
 */
export const DAMPING = 1;

/** By what a second moment `[cols, cols]` is to be multiplied so that its mean diagonal is one; 0 where there were no inputs. */
export function scaleOfMoment(moment: Float32Array, cols: number): number {
  let trace = 0;
  for (let i = 0; i < cols; i++) trace += moment[i * cols + i]!;
  return trace > 0 ? cols / trace : 0;
}

/** A second moment `[cols, cols]`, scaled to a mean diagonal of one, with `damping` added to each element of it. */
export function dampedMoment(moment: Float32Array, cols: number, damping = DAMPING): Float32Array {
  const scale = scaleOfMoment(moment, cols);
  const damped = new Float32Array(moment.length);
  for (let at = 0; at < damped.length; at++) damped[at] = moment[at]! * scale;
  for (let i = 0; i < cols; i++) damped[i * (cols + 1)]! += damping;
  return damped;
}
