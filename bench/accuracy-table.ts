import { formatBytes } from "../src/util/index.js";

/** One way to have the fine-tunes, and how it did on each task. */
export interface AccuracyRow {
  readonly title: string;
  readonly results: Map<string, TaskResult>;
}

export interface TaskResult {
  /** Of the parameters as they are stored. */
  readonly bytes: number;
  /** Whether each item was answered right; items are in the same order in every row. */
  readonly verdicts: readonly boolean[];
}

/**
 * A table in Markdown: a row for each way, a column for each task. Where there is a row "fine-tune", a cell after it also
 * says by how many points it differs, and on which items: `.880 (-1.0: +2 -5)` is right on 2 more and wrong on 5 more.
 */
export function accuracyTable(tasks: readonly string[], rows: readonly AccuracyRow[]): string {
  const tunedAt = rows.findIndex(({ title }) => title === "fine-tune");
  const lines = rows.map(({ title, results }, index) => {
    const cells = tasks.map((task) => {
      const { verdicts } = results.get(task)!;
      const reference = tunedAt >= 0 && index > tunedAt ? rows[tunedAt]!.results.get(task)!.verdicts : undefined;
      return accuracyOf(verdicts) + (reference ? ` (${differenceOf(verdicts, reference)})` : "");
    });
    return [title, formatBytes(mean([...results.values()].map(({ bytes }) => bytes))), ...cells];
  });
  const head = ["", "bytes", ...tasks];
  return [head, head.map((_, column) => (column === 0 ? "---" : "--:")), ...lines]
    .map((cells) => `| ${cells.join(" | ")} |`)
    .join("\n");
}

/** `".880"`, `"1.000"` */
function accuracyOf(verdicts: readonly boolean[]): string {
  return mean(verdicts.map(Number)).toFixed(3).replace(/^0/, "");
}

/** `"-1.0: +2 -5"` */
function differenceOf(verdicts: readonly boolean[], reference: readonly boolean[]): string {
  const won = verdicts.filter((right, index) => right && !reference[index]).length;
  const lost = verdicts.filter((right, index) => !right && reference[index]).length;
  const points = (100 * (won - lost)) / verdicts.length;
  return `${points > 0 ? "+" : ""}${points.toFixed(1)}: +${won} -${lost}`;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
