/** How much an observation still counts when the next one is made. */
const remembered = 0.97;
/** How much of the error is that of the last observation. */
const errorShare = 0.1;

/** How long something took in the past: a fixed time and one for each unit. */
export interface PaceGuess {
  readonly fixedMs: number;
  readonly unitMs: number;
  /** Units of a usual case, for which the guess stands. */
  readonly units: number;
}

/**
 * How long something takes by its size, learned by watching: the line `fixed + unit · units` through what was seen, least squares with
 * late observations counting more. A first guess counts as two faint observations, so that there is a line before
 * anything was seen, and where all that was seen had one size.
 */
export class Pace {
  /** Sums over observations of 1, x, x², y and xy. */
  #weight = 0;
  #x = 0;
  #xx = 0;
  #y = 0;
  #xy = 0;
  readonly #guess: PaceGuess;
  #observations = 0;
  #error = 0;

  constructor(guess: PaceGuess) {
    this.#guess = guess;
  }

  /** How far estimates were off of late, as a part of what it took in truth; 0 before anything was seen. */
  get error(): number {
    return this.#error;
  }

  estimateMs(units: number): number {
    const { fixedMs, unitMs } = this.#line();
    return fixedMs + unitMs * units;
  }

  observe(units: number, tookMs: number): void {
    const error = Math.abs(this.estimateMs(units) - tookMs) / Math.max(tookMs, 1e-3);
    this.#observations += 1;
    // The first errors are averaged, so that the very first does not linger.
    this.#error += (error - this.#error) * Math.max(errorShare, 1 / this.#observations);
    this.#weight = this.#weight * remembered + 1;
    this.#x = this.#x * remembered + units;
    this.#xx = this.#xx * remembered + units ** 2;
    this.#y = this.#y * remembered + tookMs;
    this.#xy = this.#xy * remembered + units * tookMs;
  }

  #line(): { fixedMs: number; unitMs: number } {
    const { fixedMs, unitMs, units } = this.#guess;
    const faint = 0.02;
    const n = this.#weight + 2 * faint;
    const x = this.#x + faint * units;
    const xx = this.#xx + faint * units ** 2;
    const y = this.#y + faint * (2 * fixedMs + unitMs * units);
    const xy = this.#xy + faint * units * (fixedMs + unitMs * units);
    const slope = (n * xy - x * y) / (n * xx - x ** 2);
    // Nothing takes less for being larger, or less than no time.
    if (slope < 0) return { fixedMs: y / n, unitMs: 0 };
    const fixed = (y - slope * x) / n;
    return fixed < 0 ? { fixedMs: 0, unitMs: xy / xx } : { fixedMs: fixed, unitMs: slope };
  }
}
