import { existsSync, mkdirSync, renameSync, statSync } from "node:fs";
import path from "node:path";
import { NativeError, Sequence } from "../src/core/index.js";
import { sampleToken } from "../src/engine/index.js";
import { type Contender, greedySpec, type Prompt, tokensReadAtOnce } from "./contender.js";
import { LlamaContext, type LlamaContextOptions, type LlamaModel } from "./llama-context.js";
import type { LlamaLibrary } from "./llama-library.js";

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

/** llama.cpp on one model, as a duel drives it. */
export class LlamaPeer implements Contender, Disposable {
  readonly name: string;
  readonly #context: LlamaContext;
  #sequences: readonly Sequence[] = [];

  /** @throws {NativeError} with llama.cpp's own words */
  constructor(model: LlamaModel, options: LlamaContextOptions) {
    this.name = options.unified && options.sequences > 1 ? "llama.cpp, unified cache" : "llama.cpp";
    this.#context = new LlamaContext(model, options);
  }

  prefillMs(prompt: Prompt): number {
    this.#context.clear();
    const start = performance.now();
    drawn(this.#read(prompt, 0), new Sequence(greedySpec("0", prompt)));
    return performance.now() - start;
  }

  begin(prompts: readonly Prompt[]): void {
    this.#context.clear();
    this.#sequences = prompts.map((prompt, index) => {
      const sequence = new Sequence(greedySpec(String(index), prompt));
      sequence.tokens.push(drawn(this.#read(prompt, index), sequence));
      return sequence;
    });
  }

  decodeMs(steps: number): number {
    this.#sequences.forEach(({ spec, tokens }, index) => {
      tokens.length = spec.prompt.length + 1;
      this.#context.forget(index, spec.prompt.length);
    });
    const start = performance.now();
    for (let step = 0; step < steps; step++) {
      this.#context.decode(
        this.#sequences.map(({ tokens }, sequence) => ({
          token: tokens.at(-1)!,
          position: tokens.length - 1,
          sequence,
          wantsLogits: true,
        })),
      );
      this.#sequences.forEach((sequence, row) => {
        sequence.tokens.push(drawn(this.#context.logits(row), sequence));
      });
    }
    return performance.now() - start;
  }

  likeliest(prompt: Prompt, count: number): ReadonlyMap<number, number> {
    this.#context.clear();
    const sequence = new Sequence({ ...greedySpec("0", prompt), topLogprobs: count });
    const { top } = sampleToken(this.#read(prompt, 0), sequence);
    return new Map(top.map(({ token, logprob }) => [token, logprob]));
  }

  logitsAfterEach(text: Prompt): readonly Float32Array[] {
    this.#context.clear();
    const rows: Float32Array[] = [];
    while (rows.length < text.length) {
      const start = rows.length;
      const tokens = text.slice(start, start + tokensReadAtOnce);
      this.#context.decode(
        tokens.map((token, row) => ({ token, position: start + row, sequence: 0, wantsLogits: true })),
      );
      rows.push(...tokens.map((_, row) => this.#context.logits(row).slice()));
    }
    return rows;
  }

  [Symbol.dispose](): void {
    this.#context[Symbol.dispose]();
  }

  /** Computes a prompt and finds the logits of its last token. */
  #read(prompt: Prompt, sequence: number): Float32Array {
    const last = prompt.length - 1;
    this.#context.decode(
      prompt.map((token, position) => ({ token, position, sequence, wantsLogits: position === last })),
    );
    return this.#context.logits(last);
  }
}

/** The likeliest token, by the sampler that Kindred draws with: libllama's own takes longer. */
function drawn(logits: Float32Array, sequence: Sequence): number {
  return sampleToken(logits, sequence).token;
}
