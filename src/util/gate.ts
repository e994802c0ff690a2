const open = 0;
const inside = 1;
const closed = 2;
/** Longer than anybody is inside; a thread that was ended there does not come out. */
const leaveMs = 5_000;

/**
 * A gate between two threads. One passes through it to do something short; the other closes it for good, and knows then that nobody is
 * inside or will be.
 */
export class Gate {
  /** What the other thread makes its gate of. */
  readonly shared: SharedArrayBuffer;
  readonly #state: Int32Array;

  constructor(shared = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.shared = shared;
    this.#state = new Int32Array(shared);
  }

  /** Does it inside; does nothing and says false where the gate is closed. */
  pass(work: () => void): boolean {
    if (Atomics.compareExchange(this.#state, 0, open, inside) !== open) return false;
    try {
      work();
    } finally {
      Atomics.compareExchange(this.#state, 0, inside, open);
      Atomics.notify(this.#state, 0);
    }
    return true;
  }

  /** Waits until the other thread is out. */
  close(): void {
    while (Atomics.compareExchange(this.#state, 0, open, closed) === inside) {
      if (Atomics.wait(this.#state, 0, inside, leaveMs) === "timed-out") Atomics.store(this.#state, 0, closed);
    }
  }
}
