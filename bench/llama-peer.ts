import { existsSync, mkdirSync, renameSync, statSync } from "node:fs";
import path from "node:path";
import koffi from "koffi";
import { NativeError, Sequence } from "../src/core/index.js";
import { sampleToken } from "../src/engine/index.js";
import { memoryAt, type Pointer } from "../src/ggml/signatures.js";
import { type Contender, greedySpec, type Prompt, tokensReadAtOnce } from "./contender.js";
import type { LlamaBatch, LlamaLibrary } from "./llama-library.js";
import type { SharedThreads } from "./shared-threads.js";

/** llama.h's `llama_ftype` of the forms that are compared. */
const fileTypes = { q8_0: 7, q4_0: 2 } as const;

export type PeerForm = keyof typeof fileTypes;

/**
 * llama.cpp's own quantisation of a GGUF file, made once: a file in `folder` that is newer than its source is taken as it is.
 *
 * @returns the path of the file
 */
export function quantizedFile(
  library: LlamaLibrary,
  source: string,
  form: PeerForm,
  options: { folder: string; threads: number },
): string {
  const file = path.join(options.folder, `${path.basename(source, ".gguf")}.${form}.gguf`);
  if (existsSync(file) && statSync(file).mtimeMs > statSync(source).mtimeMs) return file;
  mkdirSync(options.folder, { recursive: true });
  const params = {
    ...library.quantizeDefaults(),
    nthread: options.threads,
    ftype: fileTypes[form],
    allow_requantize: true,
  };
  const status = library.quantize(source, `${file}.partial`, params);
  if (status !== 0) throw new NativeError(`llama.cpp could not quantise ${source} to ${form}: ${library.lastWords()}`);
  renameSync(`${file}.partial`, file);
  return file;
}

/** A GGUF file loaded by llama.cpp with its defaults: memory-mapped, linear layers repacked where it has a faster layout. */
export class LlamaModel implements Disposable {
  readonly library: LlamaLibrary;
  readonly threads: SharedThreads;
  readonly pointer: Pointer;
  readonly vocabSize: number;

  /** @throws {NativeError} with llama.cpp's own words */
  constructor(library: LlamaLibrary, file: string, threads: SharedThreads) {
    const pointer = library.loadModel(file, library.modelDefaults());
    if (!pointer) throw new NativeError(`llama.cpp could not load ${file}: ${library.lastWords()}`);
    this.library = library;
    this.threads = threads;
    this.pointer = pointer;
    this.vocabSize = library.vocabularySize(library.vocabularyOf(pointer));
  }

  [Symbol.dispose](): void {
    this.library.freeModel(this.pointer);
  }
}

export interface PeerContextOptions {
  readonly sequences: number;
  readonly contextLength: number;
  /** One key-value buffer for all sequences rather than one for each; which is faster depends on the batch. */
  readonly unified: boolean;
}

/** llama.cpp on one model: its defaults everywhere (f16 cache, flash attention by its own choice, micro-batches of 512). */
export class LlamaPeer implements Contender, Disposable {
  readonly name: string;
  readonly #library: LlamaLibrary;
  readonly #vocabSize: number;
  readonly #context: Pointer;
  readonly #batch: TokenBatch;
  #sequences: readonly Sequence[] = [];

  /** @throws {NativeError} with llama.cpp's own words */
  constructor(model: LlamaModel, { sequences, contextLength, unified }: PeerContextOptions) {
    const { library, threads } = model;
    const params = {
      ...library.contextDefaults(),
      n_ctx: contextLength * sequences,
      n_seq_max: sequences,
      n_threads: threads.count,
      n_threads_batch: threads.count,
      kv_unified: unified,
    };
    const context = library.newContext(model.pointer, params);
    if (!context) throw new NativeError(`llama.cpp could not make a context: ${library.lastWords()}`);
    threads.attachContext(context);
    this.name = unified && sequences > 1 ? "llama.cpp, unified cache" : "llama.cpp";
    this.#library = library;
    this.#vocabSize = model.vocabSize;
    this.#context = context;
    this.#batch = new TokenBatch(library, contextLength);
  }

  prefillMs(prompt: Prompt): number {
    this.#clear();
    const start = performance.now();
    this.#drawn(this.#read(prompt, 0), new Sequence(greedySpec("0", prompt)));
    return performance.now() - start;
  }

  begin(prompts: readonly Prompt[]): void {
    this.#clear();
    this.#sequences = prompts.map((prompt, index) => {
      const sequence = new Sequence(greedySpec(String(index), prompt));
      sequence.tokens.push(this.#drawn(this.#read(prompt, index), sequence));
      return sequence;
    });
  }

  decodeMs(steps: number): number {
    const memory = this.#library.memoryOf(this.#context);
    this.#sequences.forEach(({ spec, tokens }, index) => {
      tokens.length = spec.prompt.length + 1;
      this.#library.removeCells(memory, index, spec.prompt.length, -1);
    });
    const start = performance.now();
    for (let step = 0; step < steps; step++) {
      this.#decode(
        this.#sequences.map(({ tokens }, sequence) => ({
          token: tokens.at(-1)!,
          position: tokens.length - 1,
          sequence,
          wantsLogits: true,
        })),
      );
      this.#sequences.forEach((sequence, row) => {
        sequence.tokens.push(this.#drawn(this.#logits(row), sequence));
      });
    }
    return performance.now() - start;
  }

  likeliest(prompt: Prompt, count: number): ReadonlyMap<number, number> {
    this.#clear();
    const sequence = new Sequence({ ...greedySpec("0", prompt), topLogprobs: count });
    const { top } = sampleToken(this.#read(prompt, 0), sequence);
    return new Map(top.map(({ token, logprob }) => [token, logprob]));
  }

  logitsAfterEach(text: Prompt): readonly Float32Array[] {
    this.#clear();
    const rows: Float32Array[] = [];
    while (rows.length < text.length) {
      const start = rows.length;
      const tokens = text.slice(start, start + tokensReadAtOnce);
      this.#decode(tokens.map((token, row) => ({ token, position: start + row, sequence: 0, wantsLogits: true })));
      rows.push(...tokens.map((_, row) => this.#logits(row).slice()));
    }
    return rows;
  }

  [Symbol.dispose](): void {
    this.#batch[Symbol.dispose]();
    this.#library.freeContext(this.#context);
  }

  #clear(): void {
    this.#library.clearMemory(this.#library.memoryOf(this.#context), false);
  }

  /** Computes a prompt and finds the logits of its last token. */
  #read(prompt: Prompt, sequence: number): Float32Array {
    const last = prompt.length - 1;
    this.#decode(prompt.map((token, position) => ({ token, position, sequence, wantsLogits: position === last })));
    return this.#logits(last);
  }

  #decode(rows: readonly BatchRow[]): void {
    const status = this.#library.decode(this.#context, this.#batch.filled(rows));
    if (status !== 0)
      throw new NativeError(`llama_decode of ${rows.length} tokens returned ${status}: ${this.#library.lastWords()}`);
    this.#library.synchronize(this.#context);
  }

  /** A window on llama.cpp's own memory, good until the next pass. */
  #logits(row: number): Float32Array {
    const logits = this.#library.logitsOf(this.#context, row);
    if (!logits) throw new NativeError(`llama.cpp has no logits for row ${row}: ${this.#library.lastWords()}`);
    return new Float32Array(memoryAt(logits, this.#vocabSize * Float32Array.BYTES_PER_ELEMENT).buffer);
  }

  /** The likeliest token, by the sampler that Kindred draws with: libllama's own takes longer. */
  #drawn(logits: Float32Array, sequence: Sequence): number {
    return sampleToken(logits, sequence).token;
  }
}

interface BatchRow {
  readonly token: number;
  readonly position: number;
  readonly sequence: number;
  readonly wantsLogits: boolean;
}

/** A `llama_batch` of up to `rowsMax` rows with one sequence each, and windows on its arrays. */
class TokenBatch implements Disposable {
  readonly #library: LlamaLibrary;
  readonly #batch: LlamaBatch;
  readonly #tokens: Int32Array;
  readonly #positions: Int32Array;
  readonly #counts: Int32Array;
  readonly #sequences: readonly Int32Array[];
  readonly #wantsLogits: Int8Array;

  constructor(library: LlamaLibrary, rowsMax: number) {
    const batch = library.newBatch(rowsMax, 0, 1);
    const ints = (pointer: Pointer, count: number) => new Int32Array(memoryAt(pointer, count * 4).buffer, 0, count);
    this.#library = library;
    this.#batch = batch;
    this.#tokens = ints(batch.token, rowsMax);
    this.#positions = ints(batch.pos, rowsMax);
    this.#counts = ints(batch.n_seq_id, rowsMax);
    this.#sequences = Array.from({ length: rowsMax }, (_, row) =>
      ints(koffi.decode(batch.seq_id, row * 8, "void*") as Pointer, 1),
    );
    this.#wantsLogits = new Int8Array(memoryAt(batch.logits, rowsMax).buffer, 0, rowsMax);
  }

  filled(rows: readonly BatchRow[]): LlamaBatch {
    rows.forEach(({ token, position, sequence, wantsLogits }, row) => {
      this.#tokens[row] = token;
      this.#positions[row] = position;
      this.#counts[row] = 1;
      this.#sequences[row]![0] = sequence;
      this.#wantsLogits[row] = Number(wantsLogits);
    });
    return { ...this.#batch, n_tokens: rows.length };
  }

  [Symbol.dispose](): void {
    this.#library.freeBatch(this.#batch);
  }
}
