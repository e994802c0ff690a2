import type { SequenceSpec } from "../src/core/index.js";
import { defaultSampling, KindredError } from "../src/core/index.js";
import { defaultEngineOptions, Engine, type EngineInfo, type EngineOptions, type FromEngine } from "../src/engine/index.js";
import { type Contender, warmupSteps } from "./contender.js";

type Loaded = Extract<FromEngine, { type: "variantLoaded" }>;

/**
 * Kindred's engine in this process, driven by the messages that drive it in its own. What is timed is all of a step: the plan, the
 * arrays, the pass, the logits' way to the host, drawing the likeliest token, and telling of it.
 */
export class KindredContender implements Contender, Disposable {
  readonly name = "kindred";
  /** The loads of variants so far. */
  readonly loads: Loaded[] = [];
  readonly #engine: Engine;
  #hear: (message: FromEngine) => void = () => {};
  #fail: (error: unknown) => void = () => {};
  #submitted = 0;

  static async open(options: Pick<EngineOptions, "base" | "threads" | "contextLength" | "sequences"> & Partial<EngineOptions>): Promise<KindredContender> {
    let take: (message: FromEngine) => void = () => {};
    const engine = await Engine.open({ ...defaultEngineOptions, variants: [], ...options }, (message) => take(message));
    const contender = new KindredContender(engine);
    take = (message) => contender.#take(message);
    return contender;
  }

  private constructor(engine: Engine) {
    this.#engine = engine;
    engine.run().catch((error: unknown) => this.#fail(error));
  }

  get info(): EngineInfo {
    return this.#engine.info;
  }

  async prefillMs(prompt: readonly number[]): Promise<number> {
    const start = performance.now();
    return this.#run([{ prompt, maxTokens: 1 }], () => performance.now() - start);
  }

  /** @param variants the variant of each prompt; the base without it */
  async decodeMs(prompts: readonly (readonly number[])[], steps: number, variants?: readonly string[]): Promise<number> {
    const times: number[] = [];
    // Sequences whose prompts were read first run ahead of the others meanwhile, hence the spare tokens.
    const maxTokens = warmupSteps + steps + 16;
    const specs = prompts.map((prompt, index) => ({ prompt, maxTokens, variant: variants?.[index] ?? null }));
    return this.#run(specs, ({ tokens }) => {
      if (tokens.length === prompts.length) times.push(performance.now());
      return times.length > warmupSteps + steps ? times.at(-1)! - times[warmupSteps]! : undefined;
    });
  }

  async continuation(prompt: readonly number[], count: number): Promise<readonly number[]> {
    const drawn: number[] = [];
    return this.#run([{ prompt, maxTokens: count }], ({ tokens }) => {
      drawn.push(...tokens.map(({ token }) => token));
      return drawn.length === count ? drawn : undefined;
    });
  }

  [Symbol.dispose](): void {
    this.#engine[Symbol.dispose]();
  }

  /** Submits sequences, hands each step to `watch` until it gives a result, and takes them out again. */
  async #run<T>(
    wanted: readonly Partial<SequenceSpec>[],
    watch: (step: Extract<FromEngine, { type: "step" }>) => T | undefined,
  ): Promise<T> {
    const specs = wanted.map((spec) => sequence({ id: String(this.#submitted++), ...spec }));
    try {
      return await new Promise<T>((resolve, reject) => {
        this.#fail = reject;
        this.#hear = (message) => {
          if (message.type === "failed") reject(new KindredError(message.error.code, message.error.status, message.error.message));
          if (message.type !== "step") return;
          const result = watch(message);
          if (result !== undefined) resolve(result);
        };
        for (const spec of specs) this.#engine.submit(spec);
      });
    } finally {
      for (const { id } of specs) this.#engine.abort(id);
    }
  }

  #take(message: FromEngine): void {
    if (message.type === "variantLoaded") this.loads.push(message);
    this.#hear(message);
  }
}

function sequence(own: Partial<SequenceSpec> & Pick<SequenceSpec, "id">): SequenceSpec {
  return {
    variant: null,
    prompt: [],
    generated: [],
    sampling: { ...defaultSampling, temperature: 0, seed: 0 },
    maxTokens: 1,
    endTokens: [],
    topLogprobs: null,
    ...own,
  };
}
