import { elementCount, InvalidRequest, parametersOf, tensorBytes } from "../core/index.js";
import { type DeltaReport, reportOf } from "../delta/index.js";
import { type EngineOptions, Probe } from "../engine/index.js";
import { type Checkpoint, differingText, openDelta } from "../formats/index.js";
import { Device, loadKernels } from "../ggml/index.js";
import { readTextSet, TextFormat, type TextSet } from "../text/index.js";
import { answerTokensMax, Contest, type SetResult } from "./contest.js";

/** What is evaluated, on what, and how it is held. */
export interface EvaluationOptions {
  readonly base: Checkpoint;
  /** The full fine-tune: the reference of every figure. */
  readonly tuned: Checkpoint;
  /** Delta artifacts of it on this base, by names that differ. */
  readonly deltas: readonly { readonly name: string; readonly path: string }[];
  /** Files of chats or plain text, each a set; see {@link readTextSet}. They are read as the fine-tune reads. */
  readonly data: readonly string[];
  /** Chats that are taken of each file. Default all. */
  readonly chatsMax?: number;
  /** Tokens of plain text that are taken of each file. Default all. */
  readonly textTokensMax?: number;
  readonly engine: Pick<EngineOptions, "device" | "threads" | "baseDType" | "kvDType" | "sequences">;
  readonly onProgress?: (progress: EvaluationProgress) => void;
  readonly signal?: AbortSignal;
}

/** How far reading the sets has come, in tokens over all models. */
export interface EvaluationProgress {
  readonly tokensDone: number;
  readonly tokensTotal: number;
}

/** What one way to have the fine-tune costs, and how close it comes. */
export interface CandidateResult {
  readonly name: string;
  /** Null for the base, which stands for recovering nothing. */
  readonly codec: DeltaReport["codec"] | null;
  /** Bytes of the artifact's blobs. */
  readonly diskBytes: number;
  /** Device memory while it is resident: planes, vectors, its own vocabulary. */
  readonly residentBytes: number;
  /** `diskBytes` over all parameters of the fine-tune, in bits. */
  readonly bitsPerParameter: number;
  /** ‖Δ − Δ̂‖ / ‖Δ‖ of every layer's planes. */
  readonly layers: readonly { readonly name: string; readonly relativeError: number }[];
  /** In the order of the sets. */
  readonly results: readonly SetResult[];
}

/** What {@link evaluate} found. Plain data; docs of its fields are the schema of `kindred eval --json`. */
export interface Evaluation {
  readonly base: { readonly name: string; readonly path: string };
  readonly tuned: {
    readonly name: string;
    readonly path: string;
    readonly parameters: number;
    /** Of its parameters as they are stored. */
    readonly bytes: number;
  };
  /** How it was computed: the device in words, and how matrices of base and fine-tune and the cache were held. */
  readonly engine: {
    readonly device: string;
    readonly baseDType: string;
    readonly tunedDType: string;
    readonly kvDType: string;
  };
  readonly sets: readonly {
    readonly name: string;
    readonly path: string;
    readonly samples: number;
    /** Chats that were left out because they are longer than the context. */
    readonly tooLong: number;
  }[];
  /** The base first, then the deltas. */
  readonly candidates: readonly CandidateResult[];
}

/**
 * Measures how close deltas come to their fine-tune. The fine-tune runs on its own weights; base and deltas run as they are served.
 * Both models are in memory, and all deltas.
 *
 * @throws {InvalidRequest} if a delta is not of this fine-tune, or two have one name
 * @throws {InvalidFile} if a file of texts cannot be read, naming the line
 * @throws {BaseMismatch} if a delta is not of this base
 * @throws {UnusableLogits} if a model gives numbers that are not finite
 * @throws the signal's reason when it is aborted
 */
export async function evaluate(options: EvaluationOptions): Promise<Evaluation> {
  const { base, tuned, deltas, engine, signal = new AbortController().signal } = options;
  const reports = await reportsOf(options);
  const format = formatOf(options);
  const sets = await readSets(options, format);
  const { kernels } = await loadKernels({ device: engine.device });
  using device = Device.open({ kind: engine.device, threads: engine.threads, kernels });
  const tunedDType = tunedDTypeOf(tuned, engine.baseDType);
  const held = {
    kvDType: engine.kvDType,
    contextLength: contextOf(options, sets),
    sequences: engine.sequences,
    signal,
  };
  const reference = await Probe.open(device, { base: tuned, variants: [], baseDType: tunedDType, ...held });
  const served = await Probe.open(device, { base, variants: deltas, baseDType: engine.baseDType, ...held });

  const { vocabSize } = tuned.config;
  const contestants = [
    { name: "base", probe: served, variant: null, vocabSize: base.config.vocabSize },
    ...deltas.map(({ name }) => ({ name, probe: served, variant: name, vocabSize })),
  ];
  const contest = new Contest({
    reference: { name: tuned.name, probe: reference, variant: null, vocabSize },
    contestants,
    format,
    signal,
    onRead: progressOf(options, sets, 1 + contestants.length),
  });
  const results: SetResult[][] = [];
  for (const set of sets) results.push(await contest.run(set));

  const resultsOf = (contestant: number) => results.map((set) => set[contestant]!);
  const nothing = { name: "base", codec: null, diskBytes: 0, residentBytes: 0, bitsPerParameter: 0, layers: [] };
  return {
    base: { name: base.name, path: base.path },
    tuned: { name: tuned.name, path: tuned.path, ...sizeOf(tuned) },
    engine: { device: device.description, baseDType: engine.baseDType, tunedDType, kvDType: engine.kvDType },
    sets: sets.map(({ name, path, samples, tooLong }) => ({ name, path, samples: samples.length, tooLong })),
    candidates: [
      { ...nothing, results: resultsOf(0) },
      ...reports.map(({ codec, layers, total }, index) => ({
        name: deltas[index]!.name,
        codec,
        diskBytes: total.diskBytes,
        residentBytes: served.residentBytes(deltas[index]!.name),
        bitsPerParameter: total.bitsPerWeight,
        layers: layers.map(({ name, relativeError }) => ({ name, relativeError })),
        results: resultsOf(index + 1),
      })),
    ],
  };
}

/** Opens every delta to see that it may be of this fine-tune, before anything large is read. */
async function reportsOf({ deltas, tuned }: EvaluationOptions): Promise<DeltaReport[]> {
  const reports: DeltaReport[] = [];
  for (const { name, path } of deltas) {
    if (name === "base" || deltas.filter((other) => other.name === name).length > 1)
      throw new InvalidRequest("delta", `Two candidates are named "${name}"; names tell them apart`);
    await using artifact = await openDelta(path);
    const [own, expected] = [artifact.config.vocabSize, tuned.config.vocabSize];
    if (own !== expected) {
      const problem = `it has a vocabulary of ${own}, ${tuned.name} has ${expected}`;
      throw new InvalidRequest("delta", `The delta ${path} is not of the fine-tune ${tuned.path}: ${problem}`);
    }
    reports.push(reportOf(artifact));
  }
  return reports;
}

/** The variant's own template and tokenizer, as far as it has them; the base's where not. */
function formatOf({ base, tuned }: EvaluationOptions): TextFormat {
  const text = { ...base.text, ...differingText(base.text, tuned.text) };
  return new TextFormat({ path: tuned.path, text, configJson: tuned.configJson, config: tuned.config });
}

async function readSets(options: EvaluationOptions, format: TextFormat): Promise<TextSet[]> {
  const { base, tuned, data, chatsMax = Number.POSITIVE_INFINITY, textTokensMax = Number.POSITIVE_INFINITY } = options;
  const contextLength = Math.min(base.config.contextLength, tuned.config.contextLength);
  return Promise.all(data.map((path) => readTextSet(path, format, { contextLength, chatsMax, textTokensMax })));
}

/** The reference is not quantised: 32 bits where the base has them, else 16 bits as stored. */
function tunedDTypeOf(tuned: Checkpoint, baseDType: EngineOptions["baseDType"]): EngineOptions["baseDType"] {
  if (baseDType === "f32") return "f32";
  return [...tuned.tensors.values()][0]!.dtype === "bf16" ? "bf16" : "f16";
}

/** Room for the longest sample and for every answer, as far as the model reaches. */
function contextOf({ base, tuned }: EvaluationOptions, sets: readonly TextSet[]): number {
  const longest = sets.flatMap(({ samples }) =>
    samples.map((sample) => {
      const { tokens, firstCounted, reference } = sample;
      return reference === null ? tokens.length : firstCounted + answerTokensMax(sample);
    }),
  );
  const most = Math.min(base.config.contextLength, tuned.config.contextLength);
  return Math.min(
    most,
    longest.reduce((a, b) => Math.max(a, b), 0),
  );
}

function progressOf(
  { onProgress }: EvaluationOptions,
  sets: readonly TextSet[],
  models: number,
): (tokens: number) => void {
  const readOf = (set: TextSet) => set.samples.reduce((sum, { tokens }) => sum + tokens.length - 1, 0);
  const tokensTotal = models * sets.reduce((sum, set) => sum + readOf(set), 0);
  let tokensDone = 0;
  return (tokens) => {
    tokensDone += tokens;
    onProgress?.({ tokensDone, tokensTotal });
  };
}

function sizeOf({ config, tensors }: Checkpoint): { parameters: number; bytes: number } {
  return {
    parameters: parametersOf(config).reduce((sum, { shape }) => sum + elementCount(shape), 0),
    bytes: [...tensors.values()].reduce((sum, { dtype, shape }) => sum + tensorBytes(dtype, shape), 0),
  };
}
