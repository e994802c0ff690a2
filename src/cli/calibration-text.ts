import { fileURLToPath } from "node:url";
import type { CalibrationSequence } from "../calibration/index.js";
import type { TrainingSample } from "../distillation/index.js";
import type { Checkpoint } from "../formats/index.js";
import { readTextSet, TextFormat, type TextSample } from "../text/index.js";

/** A text to know the inputs of layers by, and to train on. */
export type CalibrationText = CalibrationSequence & TrainingSample & { readonly kind: "own" | "general" };

/** Text of no particular task, which ships. */
const shippedText = fileURLToPath(new URL("../../models/calibration/general.txt", import.meta.url));

/** What the shipped text counts beside one's own. */
const generalShare = 0.3;

/** Tokens that are read: enough to know the inputs of a layer by. What calibration takes grows with them. */
const ownTokensMax = 4096;
const generalTokensMax = 2048;

/**
 * Reads text to calibrate on as a fine-tune's tokens: files of what it is for, and the general text that ships, which counts
 * three tenths. Every token of one's own files counts the same. Files are read from the beginning, 4096 tokens of one's own in all.
 *
 * @param generalPath text to read in place of the shipped one
 * @throws {InvalidFile} naming the file, and the line that cannot be read
 */
export async function readCalibration(
  tuned: Checkpoint,
  files: readonly string[],
  generalPath = shippedText,
): Promise<CalibrationText[]> {
  const format = new TextFormat(tuned);
  const read = async (path: string, tokensMax: number) => {
    const contextLength = Math.min(tuned.config.contextLength, tokensMax);
    return firstOf((await readTextSet(path, format, { contextLength })).samples, tokensMax);
  };
  const own: TextSample[] = [];
  for (const file of files) own.push(...(await read(file, Math.floor(ownTokensMax / files.length))));
  const general = await read(generalPath, generalTokensMax);
  return [...weighted(own, "own", 1 - generalShare), ...weighted(general, "general", generalShare)];
}

/** One's own text, if there is any, and general text. */
export function byKind(texts: readonly CalibrationText[]): CalibrationText[][] {
  const groups = [texts.filter(({ kind }) => kind === "own"), texts.filter(({ kind }) => kind === "general")];
  return groups.filter((group) => group.length > 0);
}

/** Samples from the first on, as many as have `tokensMax` tokens together. */
function firstOf(samples: readonly TextSample[], tokensMax: number): readonly TextSample[] {
  let tokens = 0;
  const end = samples.findIndex((sample) => {
    tokens += sample.tokens.length;
    return tokens > tokensMax;
  });
  return end === -1 ? samples : samples.slice(0, Math.max(1, end));
}

function weighted(samples: readonly TextSample[], kind: CalibrationText["kind"], share: number): CalibrationText[] {
  const tokens = samples.reduce((sum, sample) => sum + sample.tokens.length, 0);
  return samples.map((sample) => ({
    tokens: sample.tokens,
    from: sample.firstCounted - 1,
    weight: share / tokens,
    kind,
  }));
}
