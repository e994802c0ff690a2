import type { Progress } from "../delta/index.js";
import { formatBytes } from "../util/index.js";

/** Where progress goes: a terminal, or a file or pipe that keeps every line. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const BAR_CELLS = 16;
const REDRAW_EVERY_MS = 100;
/** In a log, a line for each of so many equal parts. */
const LOG_PARTS = 10;

/**
 * Shows how far a piece of work has come: one line that redraws itself on a terminal, a line every tenth elsewhere.
 * Disposing ends the line, whatever came of the work.
 */
export class ProgressLine implements Disposable {
  readonly #label: string;
  readonly #stream: ProgressStream;
  #drawnAtMs = Number.NEGATIVE_INFINITY;
  #partsLogged = 0;

  constructor(label: string, stream: ProgressStream = process.stderr) {
    this.#label = label;
    this.#stream = stream;
  }

  show(progress: Progress): void {
    this.showFraction(fractionOf(progress), describe(progress), progress.tensorsDone === progress.tensorsTotal);
  }

  /** For work that counts other things: how much of it is done, from 0 to 1, in words too, and whether that was all. */
  showFraction(fraction: number, text: string, isLast: boolean): void {
    if (this.#stream.isTTY) this.#redraw(fraction, text, isLast);
    else this.#log(fraction, text);
  }

  [Symbol.dispose](): void {
    if (this.#drawnAtMs > 0) this.#stream.write("\n");
    this.#drawnAtMs = Number.NEGATIVE_INFINITY;
  }

  #redraw(fraction: number, text: string, isLast: boolean): void {
    const nowMs = performance.now();
    if (!isLast && nowMs - this.#drawnAtMs < REDRAW_EVERY_MS) return;
    this.#drawnAtMs = nowMs;
    const cells = Math.round(fraction * BAR_CELLS);
    const bar = "█".repeat(cells) + "░".repeat(BAR_CELLS - cells);
    const line = `${this.#label} ${bar} ${text}`;
    // Back to the start and clear: the new line may be shorter. Cut off where it would wrap, which nothing could redraw.
    this.#stream.write(`\r\x1b[K${line.slice(0, (this.#stream.columns ?? 120) - 1)}`);
  }

  #log(fraction: number, text: string): void {
    const part = Math.floor(fraction * LOG_PARTS);
    if (part <= this.#partsLogged) return;
    this.#partsLogged = part;
    this.#stream.write(`${this.#label} ${text}\n`);
  }
}

function fractionOf({ bytesDone, bytesTotal }: Progress): number {
  return bytesTotal === 0 ? 1 : bytesDone / bytesTotal;
}

function describe(progress: Progress): string {
  const { tensorsDone, tensorsTotal, bytesDone, bytesTotal, secondsLeft } = progress;
  if (progress.prepared < 1) return `looking at its inputs, ${Math.floor(progress.prepared * 100)}%`;
  const percent = Math.floor(fractionOf(progress) * 100);
  const left =
    secondsLeft === null ? "" : tensorsDone === tensorsTotal ? "  done" : `  ${formatSeconds(secondsLeft)} left`;
  return `${percent}%  ${tensorsDone}/${tensorsTotal} tensors  ${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}${left}`;
}

function formatSeconds(seconds: number): string {
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
