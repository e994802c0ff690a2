import { assert } from "../util/index.js";

/** Text that may be shown, and whether a stop string ended it. */
export interface StopResult {
  readonly text: string;
  readonly stopped: boolean;
}

/**
 * Cuts a text that arrives in pieces before the first stop string: the one that is complete first, and of those that
 * end together the longest. How the text is cut into pieces makes no difference. Text that may yet turn out to begin
 * a stop string is held back.
 */
export class StopMatcher {
  readonly #stops: readonly string[];
  #held = "";
  #stopped = false;

  /** None of `stops` may be empty. */
  constructor(stops: readonly string[]) {
    assert(!stops.includes(""), "A stop string is empty");
    this.#stops = stops;
  }

  /** Takes the next piece, and gives what is now known to come before any stop string. After a stop, nothing follows. */
  push(piece: string): StopResult {
    if (this.#stopped) return { text: "", stopped: true };
    const text = this.#held + piece;
    const start = this.#findStop(text);
    if (start !== undefined) {
      this.#stopped = true;
      this.#held = "";
      return { text: text.slice(0, start), stopped: true };
    }
    const shown = text.length - this.#undecidedLength(text);
    this.#held = text.slice(shown);
    return { text: text.slice(0, shown), stopped: false };
  }

  /** The text held back, once no more will come. */
  flush(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }

  /** Where the stop string begins that is complete first; undefined where none is. */
  #findStop(text: string): number | undefined {
    let first: { start: number; end: number } | undefined;
    for (const stop of this.#stops) {
      const start = text.indexOf(stop);
      if (start < 0) continue;
      const end = start + stop.length;
      if (!first || end < first.end || (end === first.end && start < first.start)) first = { start, end };
    }
    return first?.start;
  }

  /** Length of the longest end of `text` that begins a stop string. */
  #undecidedLength(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
