/**
 * The Kullback–Leibler divergence of two softmax distributions, fine-tune from student, summed over rows by `weights`. The student's
 * logits are overwritten with the gradient of that sum by them.
 *
 * @param wanted the fine-tune's logits: `[rows, vocabulary]`, row-major
 * @param student of the same shape
 */
export function divergence(wanted: Float32Array, student: Float32Array, weights: Float32Array): number {
  const vocabulary = wanted.length / weights.length;
  let total = 0;
  for (let row = 0; row < weights.length; row++) {
    const p = wanted.subarray(row * vocabulary, (row + 1) * vocabulary);
    const q = student.subarray(row * vocabulary, (row + 1) * vocabulary);
    const weight = weights[row]!;
    const pMax = largest(p);
    const qMax = largest(q);
    let pSum = 0;
    let qSum = 0;
    let difference = 0;
    for (let i = 0; i < vocabulary; i++) {
      const share = Math.exp(p[i]! - pMax);
      pSum += share;
      qSum += Math.exp(q[i]! - qMax);
      difference += share * (p[i]! - q[i]!);
    }
    const pLog = pMax + Math.log(pSum);
    const qLog = qMax + Math.log(qSum);
    total += weight * (difference / pSum - pLog + qLog);
    for (let i = 0; i < vocabulary; i++) q[i] = weight * (Math.exp(q[i]! - qLog) - Math.exp(p[i]! - pLog));
  }
  return total;
}

function largest(values: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) if (values[i]! > max) max = values[i]!;
  return max;
}
