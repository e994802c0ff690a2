import { elementCount, KindredError, parametersOf } from "../core/index.js";
import { planeBytes } from "../formats/index.js";
import type { DistillOptions } from "./distill.js";
import type { TrainingSample } from "./samples.js";

/** What {@link distill} was given cannot be trained, or not with these samples. */
export class CannotDistill extends KindredError {
  constructor(problem: string) {
    super("cannot_distill", 422, `Cannot distill: ${problem}`);
  }
}

/** @throws {CannotDistill} naming the first thing that does not fit */
export function checkInputs({ base, tuned, student, samples, steps }: DistillOptions): void {
  if (!Number.isInteger(steps) || steps < 1) throw new CannotDistill(`steps are a positive whole number, got ${steps}`);
  if (samples.length < 2) {
    throw new CannotDistill(`it takes two samples, one to learn from and one to judge by, got ${samples.length}`);
  }
  const { vocabSize, contextLength } = tuned.config;
  samples.forEach((sample, index) => {
    const problem = problemOf(sample, vocabSize, contextLength);
    if (problem) throw new CannotDistill(`sample ${index} ${problem}`);
  });
  const shapes = new Map(parametersOf(base.config).map(({ name, shape }) => [name, shape]));
  for (const { name, shape, kind } of parametersOf(tuned.config)) {
    const [rows = 0, ...rest] = shapes.get(name) ?? [];
    const hasMoreWords = (kind === "embedding" || kind === "head") && shape[0]! > rows;
    if (String(rest) !== String(shape.slice(1)) || (rows !== shape[0] && !hasMoreWords)) {
      throw new CannotDistill(
        `${name} is [${shape}] in ${tuned.name} and [${shapes.get(name) ?? "missing"}] in ${base.name}`,
      );
    }
  }
  for (const [name, { planes }] of student.matrices) {
    const [rows, cols] = shapes.get(name) ?? [];
    for (const { dtype, bytes } of planes) {
      if (rows === undefined || cols === undefined || bytes.length !== planeBytes(dtype, { rows, cols })) {
        throw new CannotDistill(
          `the student has ${bytes.length} bytes of ${dtype} for ${name}, which is [${shapes.get(name) ?? "missing"}]`,
        );
      }
    }
  }
  for (const [name, { length }] of student.vectors) {
    if (elementCount(shapes.get(name) ?? []) === length && shapes.has(name)) continue;
    throw new CannotDistill(
      `the student has ${length} values for ${name}, which is [${shapes.get(name) ?? "missing"}]`,
    );
  }
}

function problemOf({ tokens, from }: TrainingSample, vocabSize: number, contextLength: number): string | undefined {
  if (tokens.length > contextLength) return `has ${tokens.length} tokens, the model reads ${contextLength}`;
  if (!Number.isInteger(from) || from < 0 || from >= tokens.length) {
    return `counts from position ${from}, which is not one of its ${tokens.length}`;
  }
  const stranger = tokens.find((token) => !Number.isInteger(token) || token < 0 || token >= vocabSize);
  return stranger === undefined ? undefined : `has the token ${stranger}, the vocabulary ends at ${vocabSize - 1}`;
}
