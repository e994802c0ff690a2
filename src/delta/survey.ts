import { type CalibrationSequence, Lockstep } from "../calibration/index.js";
import { embeddingName, headName, type Parameter, parametersOf, tensorBytes } from "../core/index.js";
import { measureSensitivity, type Sensitivity, type WeightedSample } from "../distillation/index.js";
import type { Checkpoint } from "../formats/index.js";
import { Device } from "../ggml/index.js";
import { readValues } from "../model/index.js";
import { assert, inLanes } from "../util/index.js";
import type { DeltaCodec } from "./codec.js";
import { createCodec } from "./codecs.js";
import { comparable, namingTensor } from "./compatibility.js";
import { isUnchanged } from "./difference.js";
import { EncoderPool } from "./encoder-pool.js";
import { checkKinship } from "./kinship.js";
import { chooseRows } from "./row-sample.js";
import type { PlaneCount } from "./sign-levels.js";

/** A form that a matrix may take. */
export interface Candidate {
  /** Null leaves the matrix as the base has it. */
  readonly codec: DeltaCodec | null;
  /** On disk. */
  readonly bytes: number;
  /** By how much the model would diverge from the fine-tune if nothing else were lost, nats a token, on each kind of text. */
  readonly losses: readonly number[];
}

/** What every form of every matrix would cost and lose, found on some of their rows. */
export interface Survey {
  /** By matrix, in the model's order. */
  readonly candidates: ReadonlyMap<string, readonly Candidate[]>;
  /** Of what has no other form: norms, biases, added vocabulary. */
  readonly fixedBytes: number;
  readonly parameters: number;
}

/** A text to know the inputs of layers by, and how much the words after it tell. */
export type SurveyText = CalibrationSequence & WeightedSample;

/** What {@link surveyForms} looks at. */
export interface SurveyOptions {
  readonly base: Checkpoint;
  readonly tuned: Checkpoint;
  /** Text that the variant will see, by kind; each kind counts the same. */
  readonly texts: readonly (readonly SurveyText[])[];
  /** Look also at what seems to be no fine-tune of the base at all. */
  readonly force?: boolean;
  readonly threads: number;
  readonly signal: AbortSignal;
  /** Told the part that is done, up to 1. */
  readonly onProgress?: (fraction: number) => void;
}

/** Signs alone: what variants have of them lies in the same slots, which other forms would need beside those; see decision 8. */
const planeCounts: readonly PlaneCount[] = [1, 2, 3, 4];

/** Of each kind of text: enough to tell matrices and forms apart by. */
const tokensMax = 2048;
/** What is left out is missed on every input alike and adds up over layers; errors of codes are of either sign. Measured: decision 8. */
const leftOutFactor = 6;
/** Part of the work that is measuring sensitivities, roughly. */
const sensitivityShare = 0.6;

/**
 * Finds for every matrix what each form of it would cost and lose: rows of it are encoded in each, errors are weighted with the inputs'
 * second moment, and their effect on the model is told by its {@link Sensitivity}. Losses add up to roughly what a calibrated delta diverges
 * by in the end on plain text, and to more on answers, of which a fine-tune is sure.
 *
 * @throws {CannotCompress} if the two do not fit each other, or a value cannot be encoded; names the tensor then
 * @throws {WrongBase} if their weights have nothing in common, unless `force` is set
 * @throws the signal's reason when it is aborted
 */
export async function surveyForms(given: SurveyOptions): Promise<Survey> {
  const { threads, signal, onProgress } = given;
  await checkKinship(given, given.force === true);
  const options = { ...given, ...comparable(given) };
  const { tuned } = options;
  const texts = options.texts.map(thinnedOut);
  const { layers, tiedEmbeddings } = tuned.config;
  const sensitivities: Sensitivity[] = [];
  for (const [index, samples] of texts.entries()) {
    const onLayer = (done: number, total: number) =>
      onProgress?.((sensitivityShare * (index + done / total)) / texts.length);
    sensitivities.push(await measureSensitivity({ tuned, samples, threads, signal, onLayer }));
  }
  await using encoders = new EncoderPool(threads);
  const surveyor = new Surveyor(options, encoders, sensitivities);
  const found = new Map<string, readonly Candidate[]>();
  const look = async (name: string, moment?: Float32Array) => {
    found.set(name, await surveyor.look(name, moment));
  };
  using device = Device.open({ kind: "cpu", threads });
  using lockstep = new Lockstep(device, tuned, texts.flat());
  const headMoment = await lockstep.survey(
    signal,
    (layer) => onProgress?.(sensitivityShare + ((1 - sensitivityShare) * (layer + 1)) / layers),
    (names, moment) => inLanes(names, names.length, (name) => look(name, moment)),
  );
  await look(headName(tuned.config), headMoment);
  if (!tiedEmbeddings) await look(embeddingName);
  return { ...surveyor.fixed, candidates: inModelOrder(found, tuned) };
}

/** Tries forms on matrices. */
class Surveyor {
  readonly #base: Checkpoint;
  readonly #tuned: Checkpoint;
  readonly #signal: AbortSignal;
  readonly #encoders: EncoderPool;
  readonly #sensitivities: readonly Sensitivity[];
  readonly #parameters: ReadonlyMap<string, Parameter>;

  constructor({ base, tuned, signal }: SurveyOptions, encoders: EncoderPool, sensitivities: readonly Sensitivity[]) {
    this.#base = base;
    this.#tuned = tuned;
    this.#signal = signal;
    this.#encoders = encoders;
    this.#sensitivities = sensitivities;
    this.#parameters = new Map(parametersOf(base.config).map((parameter) => [parameter.name, parameter]));
  }

  /** @param moment of the matrix's inputs; none for an embedding that is no output head */
  look(name: string, moment?: Float32Array): Promise<readonly Candidate[]> {
    return namingTensor(this.#tuned, this.#base, name, this.#signal, async () => {
      const { shape, kind } = this.#parameters.get(name)!;
      assert(kind !== "vector", `${name} is a vector`);
      const [rows, cols] = shape as [number, number];
      const [base, tuned] = [await readValues(this.#base, name), await readValues(this.#tuned, name)];
      const calibration = moment && { moment };
      const losses = this.#sensitivities.map(() => 0);
      if (isUnchanged({ base, tuned, shape: { rows, cols }, kind })) return [{ codec: null, bytes: 0, losses }];

      const outputs = this.#sensitivities.map(
        ({ outputs }) => outputs.get(name)?.subarray(0, rows) ?? new Float64Array(rows),
      );
      const { numbers, shares } = chooseRows(outputs);
      const take = (values: Float32Array) => {
        const taken = new Float32Array(numbers.length * cols);
        numbers.forEach((row, at) => {
          taken.set(values.subarray(row * cols, (row + 1) * cols), at * cols);
        });
        return taken;
      };
      const costs = this.#sensitivities.map(({ embedded }, kind) => ({
        output: Float64Array.from(numbers, (row, at) => (outputs[kind]![row]! * shares[at]!) / 2),
        // Any row of an embedding may be what a token takes.
        input: name === embeddingName ? embedded / numbers.length / 2 : 0,
      }));
      const sample = { rows: numbers.length, cols };
      const pair = { base: take(base), tuned: take(tuned), shape: sample, kind, ...(calibration && { calibration }) };
      const { untouched, trials } = await this.#encoders.tryPlanes(pair, planeCounts, costs, this.#signal);
      const encoded = trials.map(({ bytes, losses }, index) => {
        return {
          codec: createCodec("sign", { planes: planeCounts[index]! }),
          bytes: (bytes * rows) / sample.rows,
          losses,
        };
      });
      return [{ codec: null, bytes: 0, losses: untouched.map((loss) => leftOutFactor * loss) }, ...encoded];
    });
  }

  /** What is stored whatever forms are chosen. */
  get fixed(): Pick<Survey, "fixedBytes" | "parameters"> {
    let [fixedBytes, parameters] = [0, 0];
    for (const { name, shape, kind } of parametersOf(this.#tuned.config)) {
      const { dtype } = this.#tuned.tensors.get(name)!;
      const [rows = 1, cols = 1] = shape;
      parameters += rows * cols;
      if (kind === "vector") fixedBytes += tensorBytes(dtype, shape);
      else fixedBytes += tensorBytes(dtype, [rows - this.#parameters.get(name)!.shape[0]!, cols]);
    }
    return { fixedBytes, parameters };
  }
}

/** Every so-many-th sample, so that few tokens are left. */
function thinnedOut<T extends CalibrationSequence>(samples: readonly T[]): readonly T[] {
  const tokens = samples.reduce((sum, sample) => sum + sample.tokens.length, 0);
  const step = Math.ceil(tokens / tokensMax);
  return samples.filter((_, index) => index % step === 0);
}

function inModelOrder<T>(byName: ReadonlyMap<string, T>, { config }: Checkpoint): ReadonlyMap<string, T> {
  const names = parametersOf(config).flatMap(({ name }) => (byName.has(name) ? [name] : []));
  return new Map(names.map((name) => [name, byName.get(name)!]));
}
