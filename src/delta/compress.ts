import { availableParallelism } from "node:os";
import { type CalibrationSequence, Lockstep } from "../calibration/index.js";
import { embeddingName, InvalidRequest, type Parameter, parametersOf } from "../core/index.js";
import {
  type Checkpoint,
  type CodecOptions,
  type DeltaTensor,
  differingText,
  openDelta,
  readOriginalFile,
  writeDelta,
  writeFolder,
} from "../formats/index.js";
import { Device } from "../ggml/index.js";
import { inLanes, sha256 } from "../util/index.js";
import type { Allocation } from "./allocation.js";
import type { Calibration, DeltaCodec } from "./codec.js";
import { comparable } from "./compatibility.js";
import { Compression } from "./compression.js";
import { type DistillationOptions, distillTensors } from "./distilled.js";
import { EncoderPool } from "./encoder-pool.js";
import { finishTensors } from "./finishing.js";
import { checkKinship } from "./kinship.js";
import { type Progress, ProgressMeter } from "./progress-meter.js";
import { type DeltaReport, reportOf } from "./report.js";
import { Workspace } from "./workspace.js";

/** What {@link compressDelta} compresses, and how. */
export interface CompressOptions {
  readonly base: Checkpoint;
  readonly tuned: Checkpoint;
  /** One for all matrices, or one for each. */
  readonly codec: DeltaCodec | Allocation;
  /** Also store what restores the fine-tune bit for bit. Default: only where the codec makes no planes. */
  readonly exact?: boolean;
  /** Text that the variant will see, as its tokens; without it, every input of a layer counts the same. */
  readonly calibration?: readonly CalibrationSequence[];
  /** Train the scales of what was compressed, and norms and biases, end to end. */
  readonly distillation?: DistillationOptions;
  /** Compress also what seems to be no fine-tune of the base at all. */
  readonly force?: boolean;
  /** The folder to be made. */
  readonly out: string;
  /** Threads that encode. Default: one a core. */
  readonly threads?: number;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/**
 * Compresses a fine-tune to its difference from a base, every parameter of it, and writes the artifact. Memory holds a
 * tensor of each checkpoint for every thread; with a calibration also two layers' weights and the hidden states of its text.
 *
 * @throws {CannotCompress} if the two do not fit each other, or a value cannot be encoded; names the tensor then
 * @throws {WrongBase} if their weights have nothing in common, unless `force` is set
 * @throws {InvalidRequest} if there is a calibration or a distillation, and a codec without planes that it could better
 * @throws {AlreadyExists} if there is something at `out`
 * @throws the signal's reason when it is aborted. What was done until then, or until the process was killed, lies in `OUT.partial`, from
 *   where the same call goes on; after any other failure nothing stays
 */
export async function compressDelta(given: CompressOptions): Promise<DeltaReport> {
  const { codec, out, signal = new AbortController().signal } = given;
  checkHasUse(given);
  await checkKinship(given, given.force === true);
  const options = { ...given, ...comparable(given) };
  const { base, tuned } = options;
  await writeFolder(out, async (folder) => {
    const source = { name: base.name, fingerprint: await base.fingerprint() };
    await using workspace = await Workspace.open(`${out}.partial`, await describeWork(options));
    try {
      const compressed = await compressTensors(options, workspace, signal);
      const withoutPlanes = makesNoPlanes(codec);
      const exact = options.exact === true || withoutPlanes;
      const own = new Set(given.tuned.tensors.keys());
      const finishing = { base, tuned, workspace, exact, own, withoutPlanes, threads: options.threads, signal };
      const tensors = await finishTensors(compressed, finishing);
      const original = exact ? await readOriginalFile(given.tuned) : undefined;
      await writeDelta(folder, {
        codec: { name: codec.name, options: howMade(options) },
        base: source,
        tensors,
        configJson: tuned.configJson,
        text: differingText(base.text, tuned.text),
        ...(original && { original }),
        readBlob: ({ name }) => workspace.get(name),
      });
    } catch (error) {
      if (!signal.aborted) await workspace.remove();
      throw error;
    }
    signal.throwIfAborted();
    await workspace.remove();
  });
  await using artifact = await openDelta(out);
  return reportOf(artifact);
}

/** What is said of a codec in the artifact: its options, and what text did beside it. */
function howMade({ codec, calibration, distillation }: CompressOptions): CodecOptions {
  const calibrated = calibration && !ignoresInputs(codec) && { calibrated: true };
  return { ...codec.options, ...calibrated, ...(distillation && { distilled: distillation.steps }) };
}

function makesNoPlanes(codec: DeltaCodec | Allocation): boolean {
  return "withoutPlanes" in codec && codec.withoutPlanes === true;
}

function ignoresInputs(codec: DeltaCodec | Allocation): boolean {
  return "ignoresInputs" in codec && codec.ignoresInputs === true;
}

function checkHasUse({ codec, calibration, distillation }: CompressOptions): void {
  if (makesNoPlanes(codec) && (calibration || distillation)) {
    const problem = `Codec "${codec.name}" makes no planes that text could better: choose another, or leave the text out`;
    throw new InvalidRequest("codec", problem);
  }
  if (ignoresInputs(codec) && calibration && !distillation) {
    throw new InvalidRequest(
      "codec",
      `Codec "${codec.name}" does not calibrate; text is of use to it for distillation only`,
    );
  }
}

/** All that the encoded bytes depend on. */
async function describeWork({ base, tuned, codec, calibration }: CompressOptions): Promise<string> {
  return JSON.stringify({
    base: await base.fingerprint(),
    tuned: await tuned.fingerprint(),
    codec: { name: codec.name, options: codec.options, ...("codecs" in codec && { codecs: [...codec.codecs] }) },
    calibration: calibration ? sha256(JSON.stringify(calibration)) : null,
  });
}

/** Encodes everything; by name, in slot order. */
async function compressTensors(
  options: CompressOptions,
  workspace: Workspace,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, DeltaTensor>> {
  const { base, tuned, codec, calibration, threads: lanes = availableParallelism() } = options;
  await using encoders = new EncoderPool(lanes);
  const compression = new Compression({ base, tuned, encoders, workspace, withoutPlanes: makesNoPlanes(codec) });
  const codecOf = (name: string) => ("codecs" in codec ? codec.codecs.get(name)! : codec);
  const parameters = parametersOf(tuned.config);
  const progress = new ProgressMeter([...tuned.tensors.values()], options.onProgress);
  const once = async (name: string, compress: () => Promise<DeltaTensor>) => {
    const found = workspace.finished.get(name);
    if (found) {
      progress.found(name);
      return found;
    }
    const tensor = await compress();
    await workspace.finish(tensor);
    progress.finished(name);
    return tensor;
  };
  for (const parameter of parameters) {
    if (parameter.kind === "vector") await once(parameter.name, () => compression.vector(parameter, signal));
  }
  const { finished } = workspace;
  const matrices = parameters.filter(({ kind }) => kind !== "vector");
  const compress: CompressMatrix = (parameter, stop, seen) =>
    once(parameter.name, () => compression.matrix(parameter, codecOf(parameter.name), stop, seen));
  await (calibration && !ignoresInputs(codec)
    ? compressInLockstep(
        { tuned, calibration, compression, matrices, compress, finished, progress, threads: lanes },
        signal,
      )
    : inLanes(matrices, lanes, async (parameter) => {
        signal.throwIfAborted();
        await compress(parameter, signal);
      }));
  const tensors = new Map(parameters.map(({ name }) => [name, finished.get(name)!]));
  const { distillation } = options;
  if (!distillation) return tensors;
  return distillTensors(tensors, { base, tuned, compression, workspace, threads: lanes }, distillation, signal);
}

type CompressMatrix = (parameter: Parameter, signal: AbortSignal, seen?: Calibration) => Promise<DeltaTensor>;

/** Matrices in the order in which the model computes them, each on the inputs that it will have. */
async function compressInLockstep(
  work: {
    tuned: Checkpoint;
    calibration: readonly CalibrationSequence[];
    compression: Compression;
    matrices: readonly Parameter[];
    compress: CompressMatrix;
    /** Tensors that an earlier run has left. */
    finished: ReadonlyMap<string, DeltaTensor>;
    progress: ProgressMeter;
    threads: number;
  },
  signal: AbortSignal,
): Promise<void> {
  const { tuned, compression, matrices, compress, progress } = work;
  const { layers, tiedEmbeddings } = tuned.config;
  using device = Device.open({ kind: "cpu", threads: work.threads });
  using lockstep = new Lockstep(device, tuned, work.calibration);
  const byName = new Map(matrices.map((parameter) => [parameter.name, parameter]));
  const compressed = async (name: string, seen?: Calibration) =>
    compression.compressedValues(await compress(byName.get(name)!, signal, seen));
  const watch = (layer: number) => progress.preparing((layer + 1) / layers);
  // An output head that is the embedding too is wanted first and computed last, so its inputs are the fine-tune's. That takes a pass over
  // all layers, which a run that goes on has behind it.
  const isWanted = tiedEmbeddings && !work.finished.has(embeddingName);
  const seenByHead = isWanted ? { moment: await lockstep.survey(signal, watch) } : undefined;
  const embedding = await compressed(embeddingName, seenByHead);
  await lockstep.run(embedding, compressed, signal);
}
