// A trace is a .csv file whose first line names its columns, or a .jsonl file with an object a line. Columns that are not named here are
// passed over, and rows need not be in order. Cells of a .csv file are not quoted.
//
//   when                            model                          prompt          answer
//   at_seconds    seconds           model                          prompt_tokens   output_tokens      ours; `kindred bench --csv` writes it
//   TIMESTAMP     a date and time                                  ContextTokens   GeneratedTokens    Azure's LLM inference traces
//   gmt_create    a date and time   checkpoint_model_version_id                                       Alibaba's GenTD26 LoRA requests
//   Timestamp     seconds           Model                          Request tokens  Response tokens    BurstGPT
//   timestamp     milliseconds                                     input_length    output_length      Mooncake

import { createReadStream } from "node:fs";
import { extname } from "node:path";
import { createInterface } from "node:readline";
import { InvalidFile } from "../core/index.js";
import { isRecord } from "../util/index.js";

/** A request as a trace has it; null is what it does not say. */
export interface TraceRow {
  /** From the first row's time on, in milliseconds. */
  readonly atMs: number;
  readonly model: string | null;
  readonly promptTokens: number | null;
  readonly outputTokens: number | null;
}

interface TraceFormat {
  readonly time: string;
  readonly unit: "seconds" | "milliseconds" | "date";
  readonly model?: string;
  readonly promptTokens?: string;
  readonly outputTokens?: string;
}

const formats: readonly TraceFormat[] = [
  {
    time: "at_seconds",
    unit: "seconds",
    model: "model",
    promptTokens: "prompt_tokens",
    outputTokens: "output_tokens",
  },
  { time: "TIMESTAMP", unit: "date", promptTokens: "ContextTokens", outputTokens: "GeneratedTokens" },
  { time: "gmt_create", unit: "date", model: "checkpoint_model_version_id" },
  {
    time: "Timestamp",
    unit: "seconds",
    model: "Model",
    promptTokens: "Request tokens",
    outputTokens: "Response tokens",
  },
  { time: "timestamp", unit: "milliseconds", promptTokens: "input_length", outputTokens: "output_length" },
];

/** Rows that are read at most. */
const rowsMax = 2_000_000;

/**
 * Reads a trace, in the order of its times.
 *
 * @throws {InvalidFile} naming the first line that is not what its format promises
 */
export async function readTrace(path: string): Promise<TraceRow[]> {
  const isCsv = extname(path) === ".csv";
  if (!isCsv && extname(path) !== ".jsonl")
    throw new InvalidFile(path, `a trace is a .csv or a .jsonl file, not "${extname(path)}"`);
  const rows: TraceRow[] = [];
  let columns: readonly string[] | undefined;
  let format: TraceFormat | undefined;
  for await (const { text, number } of linesOf(path)) {
    if (isCsv && !columns) {
      columns = text.replace(/^\uFEFF/, "").split(",");
      continue;
    }
    const row = new TraceLine(path, number, columns ? cells(path, number, columns, text) : jsonOf(path, number, text));
    format ??= row.format();
    rows.push(row.parse(format));
    if (rows.length > rowsMax) throw new InvalidFile(path, `it has more than ${rowsMax} rows`);
  }
  if (rows.length === 0) throw new InvalidFile(path, "there is no request in it");
  rows.sort((a, b) => a.atMs - b.atMs);
  const startMs = rows[0]!.atMs;
  return rows.map((row) => ({ ...row, atMs: row.atMs - startMs }));
}

async function* linesOf(path: string): AsyncGenerator<{ text: string; number: number }> {
  const input = createReadStream(path, "utf8");
  try {
    let number = 0;
    for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      number += 1;
      if (text.trim() !== "") yield { text, number };
    }
  } catch (cause) {
    if (cause instanceof InvalidFile) throw cause;
    throw new InvalidFile(path, (cause as Error).message, { cause });
  } finally {
    input.destroy();
  }
}

function cells(path: string, line: number, columns: readonly string[], text: string): Record<string, unknown> {
  const values = text.split(",");
  if (values.length !== columns.length)
    throw new InvalidFile(path, `line ${line} has ${values.length} cells, the first line names ${columns.length}`, {
      details: { line },
    });
  return Object.fromEntries(columns.map((column, index) => [column.trim(), values[index]!.trim()]));
}

function jsonOf(path: string, line: number, text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new InvalidFile(path, `line ${line} is not JSON (${(cause as Error).message})`, { cause, details: { line } });
  }
  if (isRecord(value)) return value;
  throw new InvalidFile(path, `line ${line} is no JSON object: ${text.slice(0, 80)}`, { details: { line } });
}

/** One row and where it stands, for errors. */
class TraceLine {
  readonly #path: string;
  readonly #line: number;
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(path: string, line: number, values: Readonly<Record<string, unknown>>) {
    this.#path = path;
    this.#line = line;
    this.#values = values;
  }

  format(): TraceFormat {
    const names = Object.keys(this.#values);
    const format = formats.find(({ time }) => names.includes(time));
    if (format) return format;
    const known = formats.map(({ time }) => time).join(", ");
    throw this.#invalid(`has no time: expected one of ${known}, got ${names.join(", ").slice(0, 120)}`);
  }

  parse(format: TraceFormat): TraceRow {
    const model = this.#value(format.model);
    if (model !== null && typeof model !== "string")
      throw this.#invalid(`has no name of a model in ${format.model}: ${JSON.stringify(model)}`);
    return {
      atMs: this.#time(format),
      model,
      promptTokens: this.#tokens(format.promptTokens),
      outputTokens: this.#tokens(format.outputTokens),
    };
  }

  /** Null where the row does not say. */
  #value(column: string | undefined): unknown {
    const value = column === undefined ? undefined : this.#values[column];
    return value === undefined || value === "" ? null : value;
  }

  #time({ time, unit }: TraceFormat): number {
    const value = this.#values[time];
    // Dates without a zone are taken as UTC: only their differences count.
    const number = unit === "date" ? Date.parse(`${String(value).replace(" ", "T")}Z`) : numberOf(value);
    if (!Number.isFinite(number)) throw this.#invalid(`has no time in ${time}: ${JSON.stringify(value)}`);
    return unit === "seconds" ? 1000 * number : number;
  }

  /** A request of no tokens counts as one of one. */
  #tokens(column: string | undefined): number | null {
    const value = this.#value(column);
    if (value === null) return null;
    const tokens = numberOf(value);
    if (!Number.isInteger(tokens) || tokens < 0)
      throw this.#invalid(`has no number of tokens in ${column}: ${JSON.stringify(value)}`);
    return Math.max(1, tokens);
  }

  #invalid(problem: string): InvalidFile {
    return new InvalidFile(this.#path, `line ${this.#line} ${problem}`, { details: { line: this.#line } });
  }
}

/** A number, or what is not one: an empty cell is no zero. */
function numberOf(value: unknown): number {
  return typeof value === "number" || (typeof value === "string" && value !== "") ? Number(value) : Number.NaN;
}
