import { assert } from "../util/index.js";

/** One step of reading a sample. */
export interface ReadingStep {
  /** Tokens that are read. */
  readonly count: number;
  /** Of the last of them, so many have their logits looked at. */
  readonly scored: number;
  /** The token that the first of those is about; the others follow. */
  readonly firstTarget: number;
}

/**
 * Divides the reading of a sample into steps of at most `stepTokens` tokens and `rowsMax` rows of logits. The last token is not
 * read, since nothing is asked about what follows it.
 */
export function readingSteps(
  { tokens, firstCounted }: { readonly tokens: readonly number[]; readonly firstCounted: number },
  { stepTokens, rowsMax }: { readonly stepTokens: number; readonly rowsMax: number },
): ReadingStep[] {
  assert(firstCounted >= 1 && firstCounted < tokens.length, "a sample counts some of its tokens, and not the first");
  const firstRow = firstCounted - 1;
  const end = tokens.length - 1;
  const steps: ReadingStep[] = [];
  for (let start = 0; start < end; ) {
    const next = Math.min(end, start + stepTokens, Math.max(start, firstRow) + rowsMax);
    const scored = Math.max(0, next - Math.max(start, firstRow));
    steps.push({ count: next - start, scored, firstTarget: next - scored + 1 });
    start = next;
  }
  return steps;
}
