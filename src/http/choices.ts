import type { Completer, CompletionEvent, CompletionRequest } from "../core/index.js";
import { assert } from "../util/index.js";

/** An event of one of the completions that run side by side for one answer. */
export interface ChoiceEvent {
  readonly index: number;
  readonly event: CompletionEvent;
}

interface Arrival {
  readonly index: number;
  readonly next: PromiseSettledResult<IteratorResult<CompletionEvent>>;
}

/**
 * Runs `requests` side by side and yields their events as they come. Each completion is asked for its next event only
 * when the last one was taken, so a slow reader slows all of them.
 *
 * A failure of one ends all: `departure` is aborted, their iterators are closed, and the error is thrown. Leaving the
 * iteration early does the same.
 */
export async function* completeAll(
  completer: Completer,
  requests: readonly CompletionRequest[],
  departure: AbortController,
): AsyncGenerator<ChoiceEvent> {
  const { signal } = departure;
  const iterators = requests.map((request) => completer.complete(request, signal)[Symbol.asyncIterator]());
  const unfinished = new Set(iterators.keys());
  const arrivals: Arrival[] = [];
  let wake = (): void => {};

  const pull = async (index: number, iterator: AsyncIterator<CompletionEvent>): Promise<void> => {
    const [next] = await Promise.allSettled([iterator.next()]);
    arrivals.push({ index, next });
    wake();
  };

  try {
    let open = iterators.length;
    iterators.forEach((iterator, index) => void pull(index, iterator));
    while (open > 0) {
      while (arrivals.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      const { index, next } = arrivals.shift()!;
      if (next.status === "rejected") throw next.reason;
      if (next.value.done) {
        signal.throwIfAborted();
        assert(!unfinished.has(index), `Completion ${index} ended without a finished event`);
        open--;
        continue;
      }
      if (next.value.value.type === "finished") unfinished.delete(index);
      yield { index, event: next.value.value };
      void pull(index, iterators[index]!);
    }
  } finally {
    if (unfinished.size > 0) departure.abort();
    await Promise.allSettled(iterators.map((iterator) => iterator.return?.()));
  }
}
