import type { RequestRecord } from "./record.js";

/** A variant became resident. */
export interface VariantLoad {
  readonly model: string;
  /** Milliseconds from the start of the run. */
  readonly atMs: number;
}

/**
 * Marks the requests that had to wait for their variant: of every load, the first request that was waiting for it. Without loads, for a server
 * that does not tell them, the first request of each model that `mayLoad`.
 */
export function markCold(
  records: readonly RequestRecord[],
  options: { readonly loads?: readonly VariantLoad[] | undefined; readonly mayLoad: (model: string) => boolean },
): RequestRecord[] {
  const inOrder = [...records].sort((a, b) => a.sentMs - b.sentMs);
  const cold = new Set<RequestRecord>();
  if (options.loads) {
    for (const { model, atMs } of options.loads) {
      const first = inOrder.find(
        (record) => record.model === model && record.sentMs <= atMs && (record.firstMs ?? record.endMs) >= atMs,
      );
      if (first) cold.add(first);
    }
  } else {
    const seen = new Set<string>();
    for (const record of inOrder) {
      if (options.mayLoad(record.model) && !seen.has(record.model)) cold.add(record);
      seen.add(record.model);
    }
  }
  return records.map((record) => ({ ...record, isCold: cold.has(record) }));
}
