import { e2eMs, type RequestRecord, tpotMs, ttftMs } from "./record.js";

const columns = [
  "at_seconds",
  "model",
  "prompt_tokens",
  "output_tokens",
  "client",
  "sent_seconds",
  "ttft_ms",
  "tpot_ms",
  "e2e_ms",
  "itl_max_ms",
  "cold",
  "error",
] as const;

/** A run as CSV, a row a request; what was not measured is empty. It is a trace too, of what was asked for. */
export function printCsv(records: readonly RequestRecord[]): string {
  const rows = records.map((record) =>
    [
      (record.plannedMs / 1000).toFixed(6),
      plain(record.model),
      record.promptTokens ?? "",
      record.failure ? "" : record.outputTokens,
      record.client,
      (record.sentMs / 1000).toFixed(6),
      ms(ttftMs(record)),
      ms(record.failure ? null : tpotMs(record)),
      ms(e2eMs(record)),
      ms(record.gapsMs.length > 0 ? record.gapsMs.reduce((a, b) => Math.max(a, b)) : null),
      record.isCold ? 1 : 0,
      record.failure ? plain(record.failure.code) : "",
    ].join(","),
  );
  return `${[columns.join(","), ...rows].join("\n")}\n`;
}

const ms = (value: number | null) => (value === null ? "" : value.toFixed(3));

/** A cell that needs no quotes, for none are read. */
const plain = (text: string) => text.replace(/[,"\r\n]/g, "_");
