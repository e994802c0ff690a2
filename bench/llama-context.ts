import koffi from "koffi";
import { NativeError } from "../src/core/index.js";
import { memoryAt, type Pointer } from "../src/ggml/signatures.js";
import type { LlamaBatch, LlamaLibrary } from "./llama-library.js";
import type { SharedThreads } from "./shared-threads.js";

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

export interface LlamaContextOptions {
  readonly sequences: number;
  readonly contextLength: number;
  /** One key-value buffer for all sequences rather than one for each; which is faster depends on the batch. */
  readonly unified: boolean;
}

/** A row of a pass: one token of one sequence. */
export interface BatchRow {
  readonly token: number;
  readonly position: number;
  readonly sequence: number;
  readonly wantsLogits: boolean;
}

/** llama.cpp ready to compute on one model: its defaults everywhere (f16 cache, flash attention by its own choice, micro-batches of 512). */
export class LlamaContext implements Disposable {
  readonly #library: LlamaLibrary;
  readonly #vocabSize: number;
  readonly #context: Pointer;
  readonly #batch: TokenBatch;

  /** @throws {NativeError} with llama.cpp's own words */
  constructor(model: LlamaModel, { sequences, contextLength, unified }: LlamaContextOptions) {
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
    this.#library = library;
    this.#vocabSize = model.vocabSize;
    this.#context = context;
    this.#batch = new TokenBatch(library, contextLength);
  }

  /** Forgets every sequence. */
  clear(): void {
    this.#library.clearMemory(this.#library.memoryOf(this.#context), false);
  }

  /** Forgets what a sequence has from a position on. */
  forget(sequence: number, from: number): void {
    this.#library.removeCells(this.#library.memoryOf(this.#context), sequence, from, -1);
  }

  /** One pass over at most as many rows as a context has tokens. @throws {NativeError} with llama.cpp's own words */
  decode(rows: readonly BatchRow[]): void {
    const status = this.#library.decode(this.#context, this.#batch.filled(rows));
    if (status !== 0)
      throw new NativeError(`llama_decode of ${rows.length} tokens returned ${status}: ${this.#library.lastWords()}`);
    this.#library.synchronize(this.#context);
  }

  /** A window on llama.cpp's own memory, good until the next pass. */
  logits(row: number): Float32Array {
    const logits = this.#library.logitsOf(this.#context, row);
    if (!logits) throw new NativeError(`llama.cpp has no logits for row ${row}: ${this.#library.lastWords()}`);
    return new Float32Array(memoryAt(logits, this.#vocabSize * Float32Array.BYTES_PER_ELEMENT).buffer);
  }

  [Symbol.dispose](): void {
    this.#batch[Symbol.dispose]();
    this.#library.freeContext(this.#context);
  }
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
