import { type CandidateResult, divergence, type Evaluation, pointsOf, share } from "../src/quality/index.js";
import { formatBytes } from "../src/util/index.js";

/** A fine-tune with everything that was made of it. */
export interface MeasuredFineTune {
  readonly evaluation: Evaluation;
  /** Seconds that each delta took to compress, by its name; without those that were compressed before. */
  readonly seconds: Readonly<Record<string, number>>;
}

/** One fine-tune as a table in Markdown: a row for each codec, columns for each set. Divergences are in nats a token. */
export function fidelityTable({ evaluation, seconds }: MeasuredFineTune): string {
  const { candidates, sets, tuned } = evaluation;
  const perSet = candidates[0]!.results.map(({ answers }, set) => ({ set, name: sets[set]!.name, answers }));
  const head = [
    ...["", "disk", "resident", "bits"],
    ...perSet.flatMap(({ name, answers }) => [
      `${name} KL`,
      `${name} top-1`,
      ...(answers ? ["accuracy", "points against the fine-tune (95 %)"] : []),
    ]),
    "seconds",
  ];
  const reference = [
    ...["fine-tune", formatBytes(tuned.bytes), "", ((8 * tuned.bytes) / tuned.parameters).toFixed(2)],
    ...perSet.flatMap(({ answers }) => ["0", "1", ...(answers ? [share(answers.tunedAccuracy), ""] : [])]),
    "",
  ];
  const rows = candidates.map((candidate) => rowOf(candidate, seconds[candidate.name]));
  return markdown([head, rows[0]!, reference, ...rows.slice(1)]);
}

/** Accuracy of several fine-tunes side by side: a row for each codec, a column for each fine-tune that has a task. */
export function accuracyTable(fineTunes: readonly MeasuredFineTune[]): string {
  const tasks = fineTunes.flatMap(({ evaluation }) => {
    const set = evaluation.candidates[0]!.results.findIndex(({ answers }) => answers !== null);
    return set === -1 ? [] : [{ evaluation, set }];
  });
  const names = tasks[0]?.evaluation.candidates.map(({ name }) => name) ?? [];
  const answersOf = (index: number, task: (typeof tasks)[0]) =>
    task.evaluation.candidates[index]!.results[task.set]!.answers!;
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const bytes = (index: number) => formatBytes(mean(tasks.map((task) => task.evaluation.candidates[index]!.diskBytes)));
  const rows = names.map((name, index) => [
    name,
    index === 0 ? "" : bytes(index),
    ...tasks.map((task) => share(answersOf(index, task).accuracy)),
  ]);
  const tuned = [
    "fine-tune",
    formatBytes(mean(tasks.map(({ evaluation }) => evaluation.tuned.bytes))),
    ...tasks.map((task) => share(answersOf(0, task).tunedAccuracy)),
  ];
  const head = ["", "disk", ...tasks.map(({ evaluation }) => evaluation.tuned.name)];
  return markdown([head, rows[0] ?? [], tuned, ...rows.slice(1)]);
}

function rowOf(candidate: CandidateResult, seconds: number | undefined): string[] {
  const { name, codec, diskBytes, residentBytes, bitsPerParameter, results } = candidate;
  return [
    name,
    ...(codec ? [formatBytes(diskBytes), formatBytes(residentBytes), bitsPerParameter.toFixed(2)] : ["", "", ""]),
    ...results.flatMap(({ fidelity, answers }) => [
      divergence(fidelity.kl.mean),
      share(fidelity.topAgreement),
      ...(answers ? [share(answers.accuracy), pointsOf(answers)] : []),
    ]),
    seconds === undefined ? "" : seconds.toFixed(1),
  ];
}

function markdown([head, ...rows]: readonly (readonly string[])[]): string {
  const rule = head!.map((_, column) => (column === 0 ? "---" : "--:"));
  return [head!, rule, ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
