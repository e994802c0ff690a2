/** Where a request stands among those of others. */
export interface Standing {
  /** Whose it is: an opaque name that its service is counted under. Empty for all who gave none. */
  readonly client: string;
  /** Lower is handled earlier, as in vLLM. */
  readonly priority: number;
  /** Milliseconds since 1970 at which it ends, complete or not. Null: it has all the time it takes. */
  readonly deadlineMs: number | null;
}

/** The standing of a request that says nothing about it. */
export const ordinary: Standing = { client: "", priority: 0, deadlineMs: null };
