// Drawing a word from a row of logits, where there are no kernels for it. Draws what native/logits.h draws, word for word: words
// are ordered by their logits and no rounding has a part in that; weights are whole numbers, so that sums are exact in any
// order; and the arithmetic that makes them is the same, operation by operation.

import { assertDraw, type Draw, type Drawn, heaviest, type RowReport } from "./draw.js";

/**
 * Draws a word from a row of logits as `draw` says. NaN is never drawn; where there is no number, the word is 0, and where the
 * largest is infinite, it is that one.
 */
export function drawRow(logits: Float32Array, draw: Draw): Drawn {
  assertDraw(draw);
  const row = logits.subarray(0, draw.words);
  const report = draw.likeliest === null ? {} : { report: reportOf(row, draw.likeliest) };
  return { word: drawWord(adjust(row, draw), draw), ...report };
}

function drawWord(row: Float32Array, draw: Draw): number {
  const { temperature, topK, topP, minP, u } = draw;
  const best = largestAt(row);
  if (temperature === 0 || !Number.isFinite(row[best])) return best;
  const hasFilter = topK > 0 || topP < 1 || minP > 0;
  const some = hasFilter ? filter(row, row[best]!, draw) : undefined;
  const weights = some?.weights ?? weigh(row, row[best]!, rateOf(temperature));
  const at = passedAt(weights, u * total(weights));
  return some ? some.words[at]! : at;
}

function reportOf(row: Float32Array, count: number): RowReport {
  const best = largestAt(row);
  const { words, logits } = likeliest(row, count);
  const order = Array.from(words, (_, at) => at).sort((a, b) => logits[b]! - logits[a]! || a - b);
  return {
    sum: total(weigh(row, row[best]!, 1)) / heaviest,
    likeliest: order.map((at) => words[at]!),
    best,
  };
}

/** A row with what is due to its words; the same where nothing is. */
function adjust(row: Float32Array, draw: Draw): Float32Array {
  const { heard, biases, repetitionPenalty, presencePenalty, frequencyPenalty } = draw;
  if (heard.length === 0 && biases.length === 0) return row;
  const adjusted = row.slice();
  for (let i = 0; i < heard.length; i += 2) {
    const [word, times] = [heard[i]!, heard[i + 1]!];
    const logit = adjusted[word]!;
    const changed = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty;
    adjusted[word] = times > 0 ? changed - (presencePenalty + frequencyPenalty * times) : changed;
  }
  for (const [word, bias] of biases) adjusted[word]! += Math.fround(bias);
  return adjusted;
}

/** Some words of a row, in their order. */
interface Some {
  readonly words: Int32Array;
  readonly logits: Float32Array;
}

/** The words that the filters leave; those that min-p drops weigh nothing. */
function filter(
  row: Float32Array,
  largest: number,
  { temperature, topK, topP, minP }: Draw,
): Some & { readonly weights: Float64Array } {
  const rate = rateOf(temperature);
  const least = minP * heaviest;
  const hasTopK = topK > 0 && topK < row.length;
  const all = topP < 1 && !hasTopK ? total(weigh(row, largest, rate)) : 0;
  // Words that weigh less than an even share of what top-p leaves out do not weigh that much together, and it keeps none of them.
  // What is gathered may be more than needed, so nothing here has to be exact.
  const needed = topP < 1 ? ((1 - topP) * all) / row.length : least;
  const exponent = needed > 2 ? Math.log((needed - 1) / heaviest) - 1e-6 : leastExponent;
  let some = hasTopK ? likeliest(row, topK) : gather(row, Math.fround(largest + exponent * temperature));
  if (topP < 1) {
    const weights = weigh(some.logits, largest, rate);
    some = likeliestTo(topP * (hasTopK ? total(weights) : all), some, weights);
  }
  const weights = weigh(some.logits, largest, rate);
  for (let i = 0; i < weights.length; i++) if (weights[i]! < least) weights[i] = 0;
  return { ...some, weights };
}

/** The `count` likeliest words, or all if there are fewer; of equals the first. */
function likeliest(row: Float32Array, count: number): Some {
  if (count === 0) return { words: new Int32Array(0), logits: new Float32Array(0) };
  // As many words are at least as large as the `count`th of the groups' maxima, each of which is a word's.
  const maxima = maximaOf(row);
  const isFew = count < maxima.length;
  const some = gather(row, isFew ? lastOf(count, maxima, ones(maxima.length)).logit : Number.NEGATIVE_INFINITY);
  return count < some.words.length ? likeliestTo(count, some, ones(some.words.length)) : some;
}

const ones = (length: number): Float64Array => new Float64Array(length).fill(1);

const groupWords = 32;

function maximaOf(row: Float32Array): Float32Array {
  const groups = Math.ceil(row.length / groupWords);
  const maxima = new Float32Array(groups).fill(Number.NEGATIVE_INFINITY);
  for (let first = 0; first < row.length; first += groups) {
    const count = Math.min(groups, row.length - first);
    for (let i = 0; i < count; i++) if (row[first + i]! > maxima[i]!) maxima[i] = row[first + i]!;
  }
  return maxima;
}

/** All words with at least this logit; NaN is none. */
function gather(row: Float32Array, least: number): Some {
  let count = 0;
  for (let word = 0; word < row.length; word++) if (row[word]! >= least) count += 1;
  const words = new Int32Array(count);
  const logits = new Float32Array(count);
  count = 0;
  for (let word = 0; word < row.length; word++) {
    if (!(row[word]! >= least)) continue;
    words[count] = word;
    logits[count++] = row[word]!;
  }
  return { words, logits };
}

/** Of some words the fewest likeliest whose weights reach `target`, at least one; of equals the first. */
function likeliestTo(target: number, { words, logits }: Some, weights: Float64Array): Some {
  const { logit, missing } = lastOf(target, logits, weights);
  const kept = { words: new Int32Array(words.length), logits: new Float32Array(words.length) };
  let left = Math.max(missing, Number.MIN_VALUE);
  let count = 0;
  for (let i = 0; i < words.length; i++) {
    if (logits[i]! < logit || (logits[i]! === logit && left <= 0)) continue;
    if (logits[i]! === logit) left -= weights[i]!;
    kept.words[count] = words[i]!;
    kept.logits[count++] = logits[i]!;
  }
  return { words: kept.words.subarray(0, count), logits: kept.logits.subarray(0, count) };
}

/** What logits that are not decided yet are divided into, as a power of two. */
const bucketBits = 9;
const sums = new Float64Array(2 ** bucketBits);

/**
 * The logit of the last of the likeliest words whose weights reach `target`, and what is missing there if all with larger ones are
 * taken; the least logit of all if they do not reach it. Those that are not decided yet go into buckets by their logits, and all
 * but one bucket are decided.
 */
function lastOf(
  target: number,
  logits: Float32Array,
  weights: Float64Array,
): { readonly logit: number; readonly missing: number } {
  const ranks = ranksOf(logits);
  const own = weights.slice();
  let reached = 0;
  for (let left = ranks.length; ; ) {
    let lowest = 2 ** 31 - 1;
    let highest = -(2 ** 31);
    for (let i = 0; i < left; i++) {
      if (ranks[i]! < lowest) lowest = ranks[i]!;
      if (ranks[i]! > highest) highest = ranks[i]!;
    }
    if (lowest >= highest) return { logit: logitOf(highest), missing: target - reached };
    const shift = Math.max(0, 32 - Math.clz32(highest - lowest) - bucketBits);
    const last = (highest - lowest) >>> shift;
    sums.fill(0, 0, last + 1);
    for (let i = 0; i < left; i++) sums[(highest - ranks[i]!) >>> shift]! += own[i]!;
    let bucket = 0;
    for (; bucket < last && reached + sums[bucket]! < target; bucket++) reached += sums[bucket]!;
    const count = left;
    left = 0;
    for (let i = 0; i < count; i++) {
      if ((highest - ranks[i]!) >>> shift !== bucket) continue;
      ranks[left] = ranks[i]!;
      own[left++] = own[i]!;
    }
  }
}

/** Whole numbers in the order of the logits: their bits, upside down where they are negative. */
function ranksOf(logits: Float32Array): Int32Array {
  const same = new Float32Array(logits.length);
  for (let i = 0; i < logits.length; i++) same[i] = logits[i]! + 0; // −0 is 0
  const ranks = new Int32Array(same.buffer);
  for (let i = 0; i < ranks.length; i++) ranks[i] = upsideDown(ranks[i]!);
  return ranks;
}

const logitOf = (rank: number): number => new Float32Array(Int32Array.of(upsideDown(rank)).buffer)[0]!;
const upsideDown = (bits: number): number => bits ^ ((bits >> 31) >>> 1);

/** From here on a weight is less than a half, and so nothing. */
const leastExponent = -24.6;
/** Where doubles have room for whole numbers only. */
const whole = 1.5 * 2 ** 52;
const powers = Float64Array.from({ length: 40 }, (_, n) => heaviest / 2 ** n);

/** The same memory for all weights: a vocabulary of them is long. */
let room = new Float64Array(0);

/** What logits are multiplied by. An infinite rate would make no number of the likeliest's 0. */
const rateOf = (temperature: number): number => Math.min(1 / temperature, Number.MAX_VALUE);

/** {@link heaviest} · e^((logit − largest) · rate) as a whole number, 0 for NaN; within 3e-10 of it, or a half. Good until the next call. */
function weigh(logits: Float32Array, largest: number, rate: number): Float64Array {
  if (room.length < logits.length) room = new Float64Array(logits.length);
  const weights = room.subarray(0, logits.length);
  for (let i = 0; i < logits.length; i++) {
    const x = (logits[i]! - largest) * rate;
    weights[i] = 0;
    if (!(x > leastExponent)) continue;
    // e^x = 2^n · e^r with |r| ≤ ln 2 / 2.
    const n = x * Math.LOG2E + whole - whole;
    const r = x - n * Math.LN2;
    let y = 1 / 40320;
    y = y * r + 1 / 5040;
    y = y * r + 1 / 720;
    y = y * r + 1 / 120;
    y = y * r + 1 / 24;
    y = y * r + 1 / 6;
    y = y * r + 1 / 2;
    y = y * r + 1;
    y = y * r + 1;
    weights[i] = y * powers[-n]! + whole - whole;
  }
  return weights;
}

function total(weights: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) sum += weights[i]!;
  return sum;
}

/** Where a running sum of the weights passes `target`, which is less than their sum. */
function passedAt(weights: Float64Array, target: number): number {
  let at = 0;
  for (let reached = weights[0]!; reached <= target; reached += weights[at]!) at += 1;
  return at;
}

/** The index of the largest value, the first of equals. NaN is never largest; 0 when there is no number. */
function largestAt(values: Float32Array): number {
  let best = 0;
  let max = Number.NEGATIVE_INFINITY;
  const count = values.length;
  for (let i = 0; i < count; i++) {
    // A vocabulary is long and nearly all of it below the maximum so far: four at a time go by in half the time.
    while (
      i + 4 <= count &&
      !(values[i]! > max || values[i + 1]! > max || values[i + 2]! > max || values[i + 3]! > max)
    )
      i += 4;
    if (i < count && values[i]! > max) {
      max = values[i]!;
      best = i;
    }
  }
  return best;
}
