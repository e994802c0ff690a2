import { CorruptCode, SYMBOLS_MAX, SymbolDecoder, SymbolEncoder, SymbolModel } from "../entropy/index.js";
import type { FloatDType } from "../formats/index.js";
import { halvesOf, LEVELS, type Levels } from "./exact-contexts.js";
import type { ExactHeader } from "./exact-header.js";
import { symbolBases, symbolOf } from "./exact-symbols.js";
import { type FloatBits, numbersOf } from "./float-bits.js";

const RUN_ELEMENTS_MIN = 64;
const RUN_ELEMENTS_MAX = 256;

/**
 * Elements of a run in a matrix of so many columns: the most that divide a row, since what changes much or little are often rows; where
 * none does, some.
 */
export function chooseRun(cols: number): number {
  for (let run = RUN_ELEMENTS_MAX; run >= RUN_ELEMENTS_MIN; run--) if (cols % run === 0) return run;
  return RUN_ELEMENTS_MIN;
}

/** How much each run of a tensor changes: the mean of what is finite. */
export function measureLevels(dtype: FloatDType, reference: FloatBits, tuned: FloatBits, runElements: number): Levels {
  const halves = new Uint16Array(Math.ceil(tuned.length / runElements));
  for (let run = 0; run < halves.length; run++) {
    const start = run * runElements;
    const end = Math.min(start + runElements, tuned.length);
    const from = numbersOf(dtype, reference.subarray(start, end));
    const to = numbersOf(dtype, tuned.subarray(start, end));
    let sum = 0;
    for (let i = 0; i < to.length; i++) {
      const change = Math.abs(to[i]! - from[i]!);
      if (change < Number.POSITIVE_INFINITY) sum += change;
    }
    halves[run] = halvesOf(sum / to.length);
  }
  let highest = 0;
  for (const half of halves) highest = Math.max(highest, half);
  const lowest = Math.max(0, highest - LEVELS + 1);
  return { runElements, lowest, ofRun: Uint8Array.from(halves, (half) => Math.max(0, half - lowest)) };
}

/** The mean of levels for all of a tensor: where changes are few and far between, no level foresees them. */
export function oneLevel({ ofRun, lowest }: Levels, elements: number): Levels {
  const mean = Math.round(ofRun.reduce((sum, level) => sum + level, 0) / ofRun.length);
  return { runElements: elements, lowest, ofRun: Uint8Array.of(mean) };
}

/** Levels as they are stored. */
export function encodeLevels({ ofRun }: Levels): { readonly model: SymbolModel; readonly bytes: Uint8Array } {
  const symbols = ofRun.map((level, run) => symbolOf(level - (run === 0 ? 0 : ofRun[run - 1]!)));
  const counts = new Uint32Array(SYMBOLS_MAX);
  for (const symbol of symbols) counts[symbol]! += 1;
  const model = SymbolModel.fit(counts);
  const bytes = new SymbolEncoder(model).encode(symbols, new Uint8Array(symbols.length), symbols.length);
  return { model, bytes };
}

/** @throws {CorruptCode} if the bytes are not the levels of a tensor of `elements` */
export function decodeLevels(header: ExactHeader, bytes: Uint8Array, elements: number): Levels {
  const { runElements, lowestLevel } = header;
  const ofRun = new Uint8Array(Math.ceil(elements / runElements));
  new SymbolDecoder(header.models.levels).decode(bytes, new Uint8Array(ofRun.length), ofRun, ofRun.length);
  let level = 0;
  for (let run = 0; run < ofRun.length; run++) {
    level += symbolBases[ofRun[run]!]!;
    if (level < 0 || level >= LEVELS) throw new CorruptCode("a level of it is not one that there is");
    ofRun[run] = level;
  }
  return { runElements, lowest: lowestLevel, ofRun };
}
