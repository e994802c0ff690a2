import type { Completer, CompletionEvent, CompletionRequest, ModelCard } from "../src/core/index.js";
import { ModelNotFound } from "../src/core/index.js";
import { openCheckpoint } from "../src/formats/index.js";
import { type EnginePort, LocalCompleter, ServedModel } from "../src/runtime/index.js";
import { Tokenizer } from "../src/text/index.js";

/** A fine-tune as a whole checkpoint. */
export interface FullModel {
  readonly name: string;
  readonly path: string;
}

/** What serves whole fine-tunes by turns. */
export interface SwapOptions {
  readonly models: readonly FullModel[];
  /** Held in memory at once. */
  readonly residentMax: number;
  readonly contextLength: number;
  /** Starts what is to serve the fine-tune at a path. */
  readonly start: (path: string) => Promise<EnginePort>;
  readonly onLoad: (model: string, tookMs: number) => void;
}

interface Resident {
  readonly engine: EnginePort;
  readonly completer: LocalCompleter;
  users: number;
}

interface Waiting {
  readonly model: string;
  readonly enter: (resident: Resident) => void;
  readonly fail: (error: unknown) => void;
}

/**
 * What one does without deltas: the same engine, once for each fine-tune that is in memory, and the least recently used one gives way to
 * the one that has been asked for longest. Whoever asks for one in memory gets it at once, and all who wait for one enter together when
 * it is there. One that is to give way takes nobody more, and goes when its last answer is complete. Tokenizers and templates stay in
 * memory: a swap loads weights and nothing else.
 */
export class SwapCompleter implements Completer, AsyncDisposable {
  readonly #options: SwapOptions;
  readonly #served: ReadonlyMap<string, ServedModel>;
  /** The least recently asked first. */
  readonly #residents = new Map<string, Resident>();
  readonly #loading = new Set<string>();
  #waiting: Waiting[] = [];
  #leaving: string | undefined;

  static async open(options: SwapOptions): Promise<SwapCompleter> {
    const byPath = new Map<string, ServedModel>();
    const served = new Map<string, ServedModel>();
    for (const { name, path } of options.models) {
      const own = byPath.get(path) ?? (await describeModel(path, options.contextLength));
      byPath.set(path, own);
      served.set(name, own);
    }
    return new SwapCompleter(options, served);
  }

  private constructor(options: SwapOptions, served: ReadonlyMap<string, ServedModel>) {
    this.#options = options;
    this.#served = served;
  }

  models(): readonly ModelCard[] {
    return this.#options.models.map(({ name }) => ({ ...this.#served.get(name)!.card, id: name, parent: "swapped" }));
  }

  async *complete(request: CompletionRequest, signal: AbortSignal): AsyncGenerator<CompletionEvent> {
    const served = this.#served.get(request.model);
    if (!served) throw new ModelNotFound(request.model);
    const resident = await this.#enter(request.model);
    try {
      yield* resident.completer.complete({ ...request, model: served.card.id }, signal);
    } finally {
      resident.users -= 1;
      this.#turn();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { engine } of this.#residents.values()) await engine[Symbol.asyncDispose]();
  }

  #enter(model: string): Promise<Resident> {
    return new Promise((enter, fail) => {
      this.#waiting.push({ model, enter, fail });
      this.#turn();
    });
  }

  /** Lets in whose model is there, and makes room for the one that has been wanted longest. */
  #turn(): void {
    const wanted = this.#waiting.find(({ model }) => !this.#loading.has(model) && !this.#residents.has(model))?.model;
    if (wanted === undefined) this.#leaving = undefined;
    this.#waiting = this.#waiting.filter((waiting) => {
      const resident = this.#leaving === waiting.model ? undefined : this.#residents.get(waiting.model);
      if (!resident) return true;
      this.#residents.delete(waiting.model);
      this.#residents.set(waiting.model, resident);
      resident.users += 1;
      waiting.enter(resident);
      return false;
    });
    if (wanted === undefined) return;
    if (this.#residents.size + this.#loading.size < this.#options.residentMax) {
      void this.#load(wanted);
      return;
    }
    this.#leaving ??= this.#residents.keys().next().value;
    const leaving = this.#leaving === undefined ? undefined : this.#residents.get(this.#leaving);
    if (leaving?.users === 0) void this.#swap(this.#leaving!, wanted);
  }

  async #swap(out: string, into: string): Promise<void> {
    const { engine } = this.#residents.get(out)!;
    this.#residents.delete(out);
    this.#leaving = undefined;
    this.#loading.add(into); // its place is taken while the other's is given back
    await engine[Symbol.asyncDispose]();
    await this.#load(into);
  }

  async #load(model: string): Promise<void> {
    this.#loading.add(model);
    const startedMs = performance.now();
    try {
      const served = this.#served.get(model)!;
      const path = this.#options.models.find(({ name }) => name === model)!.path;
      const engine = await this.#options.start(path);
      const completer = new LocalCompleter(engine, { models: [served], contextLength: this.#options.contextLength });
      this.#residents.set(model, { engine, completer, users: 0 });
      this.#options.onLoad(model, performance.now() - startedMs);
    } catch (error) {
      const failed = this.#waiting.filter((waiting) => waiting.model === model);
      this.#waiting = this.#waiting.filter((waiting) => waiting.model !== model);
      for (const { fail } of failed) fail(error);
    } finally {
      this.#loading.delete(model);
      this.#turn();
    }
  }
}

/** A checkpoint as a model that is a base. */
export async function describeModel(path: string, contextLength: number): Promise<ServedModel> {
  await using checkpoint = await openCheckpoint(path);
  return new ServedModel({
    card: { id: checkpoint.name, parent: null, contextLength, created: 0 },
    variant: null,
    assets: checkpoint.text,
    tokenizer: Tokenizer.from(checkpoint.text, path),
    vocabSize: checkpoint.config.vocabSize,
    configJson: checkpoint.configJson,
  });
}
