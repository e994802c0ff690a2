import { formatBytes, printColumns } from "../util/index.js";
import type { CandidateResult, Evaluation } from "./evaluation.js";

const head = [
  "",
  "bytes",
  "bits",
  "KL mean",
  "KL 99 %",
  "top-1",
  "recovered",
  "identical",
  "accuracy",
  "points (95 %)",
];

/**
 * An evaluation for a terminal: under the name of each set a row for each candidate, and the accuracy of the fine-tune. Divergences
 * are in nats a token; points are percentage points of accuracy against the fine-tune.
 */
export function printEvaluation({ candidates, sets }: Evaluation): string {
  const tables = sets.map(({ name, samples, tooLong }, index) => {
    const { positions } = candidates[0]!.results[index]!.fidelity;
    const left = tooLong > 0 ? `, ${tooLong} longer ones left out` : "";
    const tuned = candidates[0]!.results[index]!.answers?.tunedAccuracy;
    const rows = candidates.map((candidate) => rowOf(candidate, index));
    if (tuned !== undefined) rows.unshift(["fine-tune", "", "", "0", "0", "1", "1", "1", share(tuned), ""]);
    const title = `${name}: ${samples} samples, ${positions.toLocaleString("en")} positions${left}`;
    return `${title}\n${printColumns([head, ...rows])}`;
  });
  return tables.join("\n\n");
}

function rowOf({ name, codec, diskBytes, bitsPerParameter, results }: CandidateResult, index: number): string[] {
  const { fidelity, recovered, answers } = results[index]!;
  return [
    name,
    codec === null ? "" : formatBytes(diskBytes),
    codec === null ? "" : bitsPerParameter.toFixed(2),
    divergence(fidelity.kl.mean),
    divergence(fidelity.kl.p99),
    share(fidelity.topAgreement),
    recovered === null ? "" : share(recovered),
    answers ? share(answers.identical) : "",
    answers ? share(answers.accuracy) : "",
    answers ? pointsOf(answers) : "",
  ];
}

/** `-1.0 [-2.9, +0.6], -5 +2`: the difference, its interval, and how many items were lost and won. */
export function pointsOf({ difference, lost, won }: NonNullable<CandidateResult["results"][0]["answers"]>): string {
  const { value, low, high } = difference;
  return `${points(value)} [${points(low)}, ${points(high)}], -${lost} +${won}`;
}

/** Three significant digits, and no more than five decimals: `7.83`, `0.0489`, `0.00094`. */
export function divergence(nats: number): string {
  if (nats === 0) return "0";
  const decimals = Math.min(5, Math.max(0, 2 - Math.floor(Math.log10(nats))));
  return nats.toFixed(decimals);
}

/** `0.978` */
export function share(value: number): string {
  return value.toFixed(3);
}

function points(share: number): string {
  const text = (100 * share).toFixed(1);
  return share > 0 && text !== "0.0" ? `+${text}` : text;
}
