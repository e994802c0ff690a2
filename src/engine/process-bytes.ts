/** What the engine's process has before it is told anything: Node, its libraries, and our code. */
const runtimeBytes = 60_000_000;
/** What its heaps grow to, its loader's buffers, and what is allocated for graphs; {@link heapFlags} bound what JavaScript leaves lying. */
const workingBytes = 50_000_000;
/** Contents of a registered variant, and what is known of its use. */
const bytesPerVariant = 16_000;

/**
 * Bytes of an engine's process beside the base, steps, cells and slots. Stated, not measured, so that a plan and an engine divide the same
 * budget in the same way wherever they run.
 */
export function processBytes(variants: number): number {
  return runtimeBytes + workingBytes + variants * bytesPerVariant;
}

/**
 * Flags for a Node that is nothing but an engine. It keeps little and throws away much: some megabytes for what is new, and a collection whenever
 * what is kept has grown by half, instead of tens of megabytes and a multiple. What a start leaves lying is collected when it is done.
 */
export const heapFlags: readonly string[] = ["--max-semi-space-size=4", "--heap-growing-percent=50", "--expose-gc"];

/** For glibc: freed memory in one arena that all threads take from, instead of one for each. */
export const heapEnvironment: Readonly<Record<string, string>> = { MALLOC_ARENA_MAX: "1" };
