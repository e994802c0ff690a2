import { setImmediate as nextTurn } from "node:timers/promises";
import { errorToData, type FinishReason, type SampledToken, Sequence, type SequenceSpec } from "../src/core/index.js";
import { type FromEngine, sampleToken, type ToEngine } from "../src/engine/index.js";
import type { EnginePort } from "../src/runtime/index.js";
import { type BatchRow, LlamaContext, LlamaModel } from "./llama-context.js";
import type { LlamaLibrary } from "./llama-library.js";
import type { SharedThreads } from "./shared-threads.js";

export interface LlamaEngineOptions {
  readonly library: LlamaLibrary;
  /** A GGUF file. */
  readonly file: string;
  readonly threads: SharedThreads;
  readonly sequences: number;
  readonly contextLength: number;
}

/**
 * llama.cpp on one model where Kindred has an engine: continuous batching as llama.cpp's own server does it, a place for each sequence,
 * all that run in one pass, and prompts beside them as far as there is room in it.
 */
export class LlamaEngine implements EnginePort {
  readonly #model: LlamaModel;
  readonly #context: LlamaContext;
  readonly #rowsMax: number;
  /** By its place in the cache. */
  readonly #running: (Sequence | undefined)[];
  readonly #ended: Promise<void>;
  #waiting: Sequence[] = [];
  #listener: (message: FromEngine) => void = () => {};
  #wake: () => void = () => {};
  #stopped = false;

  /** @throws {NativeError} with llama.cpp's own words */
  constructor({ library, file, threads, sequences, contextLength }: LlamaEngineOptions) {
    this.#model = new LlamaModel(library, file, threads);
    this.#context = new LlamaContext(this.#model, { sequences, contextLength, unified: false });
    this.#rowsMax = contextLength;
    this.#running = Array.from({ length: sequences }, () => undefined);
    this.#ended = this.#run().catch((error: unknown) => this.#listener({ type: "broken", error: errorToData(error) }));
  }

  send(message: ToEngine): void {
    if (message.type === "submit") this.#waiting.push(new Sequence(message.spec));
    else this.#forget(message.id);
    this.#wake();
  }

  listen(listener: (message: FromEngine) => void): void {
    this.#listener = listener;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    this.#wake();
    await this.#ended;
    this.#context[Symbol.dispose]();
    this.#model[Symbol.dispose]();
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      this.#admit();
      if (this.#running.some((sequence) => sequence !== undefined)) {
        this.#step();
        await nextTurn();
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  #admit(): void {
    for (const [place, sequence] of this.#running.entries()) {
      if (sequence !== undefined || this.#waiting.length === 0) continue;
      this.#context.forget(place, 0);
      this.#running[place] = this.#waiting.shift()!;
    }
  }

  #step(): void {
    const rows: BatchRow[] = [];
    const drawing: { sequence: Sequence; place: number; row: number }[] = [];
    // Those that are further go first: a long prompt holds nobody up who is decoding.
    const order = [...this.#running.entries()].sort(
      ([, a], [, b]) => (a?.pendingTokens ?? 0) - (b?.pendingTokens ?? 0),
    );
    for (const [place, sequence] of order) {
      if (sequence === undefined) continue;
      const count = Math.min(sequence.pendingTokens, this.#rowsMax - rows.length);
      const samples = count === sequence.pendingTokens;
      for (let index = 0; index < count; index++) {
        const position = sequence.computedTokens + index;
        const wantsLogits = samples && index === count - 1;
        rows.push({ token: sequence.tokens[position]!, position, sequence: place, wantsLogits });
      }
      sequence.computedTokens += count;
      if (samples && count > 0) drawing.push({ sequence, place, row: rows.length - 1 });
    }
    this.#context.decode(rows);
    const tokens: SampledToken[] = [];
    const finished: { id: string; reason: FinishReason }[] = [];
    const started = drawing.filter(({ sequence }) => sequence.generatedTokens === 0);
    for (const { sequence, place, row } of drawing) {
      const drawn = sampleToken(this.#context.logits(row), sequence);
      tokens.push(drawn);
      sequence.tokens.push(drawn.token);
      const reason = reasonToEnd(sequence.spec, drawn.token, sequence.generatedTokens);
      if (reason === undefined) continue;
      finished.push({ id: sequence.id, reason });
      this.#running[place] = undefined;
    }
    this.#listener({
      type: "step",
      started: started.map(({ sequence }) => ({ id: sequence.id, cachedTokens: 0 })),
      tokens,
      finished,
    });
  }

  #forget(id: string): void {
    this.#waiting = this.#waiting.filter((sequence) => sequence.id !== id);
    const place = this.#running.findIndex((sequence) => sequence?.id === id);
    if (place >= 0) this.#running[place] = undefined;
  }
}

function reasonToEnd(spec: SequenceSpec, token: number, generated: number): FinishReason | undefined {
  if (spec.endTokens.includes(token)) return "stop";
  return generated >= spec.maxTokens ? "length" : undefined;
}
