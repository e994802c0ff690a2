import { fileURLToPath } from "node:url";
import type { CalibrationSequence } from "../calibration/index.js";
import type { TrainingSample } from "../distillation/index.js";
import type { Checkpoint } from "../formats/index.js";
import { readTextSet, TextFormat, type TextSample } from "../text/index.js";

/** A text to know the inputs of layers by, and to train on. */
export type CalibrationText = CalibrationSequence & TrainingSample;

/** Text of no particular task, which ships. */
const shippedText = fileURLToPath(new URL("../../models/calibration/general.txt", import.meta.url));

/** What the shipped text counts beside one's own. */
const generalShare = 0.3;

/** As much of each file as is read: enough to know the inputs of a layer by, and minutes of work rather than hours. */
const limits = { chatsMax: 256, textTokensMax: 3072, windowTokens: 128 } as const;

/**
 * Reads text to calibrate on as a fine-tune's tokens: files of what it is for, and the general text that ships, which counts
 * three tenths. Every token of one's own files counts the same.
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
  const read = (path: string) =>
    readTextSet(path, format, { contextLength: Math.min(tuned.config.contextLength, 2048), ...limits });
  const own: TextSample[] = [];
  for (const file of files) own.push(...(await read(file)).samples);
  const general = (await read(generalPath)).samples;
  return [...weighted(own, 1 - generalShare), ...weighted(general, generalShare)];
}

function weighted(samples: readonly TextSample[], share: number): CalibrationText[] {
  const tokens = samples.reduce((sum, sample) => sum + sample.tokens.length, 0);
  return samples.map((sample) => ({ tokens: sample.tokens, from: sample.firstCounted - 1, weight: share / tokens }));
}
