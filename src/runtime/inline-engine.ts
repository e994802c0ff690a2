import { errorToData } from "../core/index.js";
import { Engine, type EngineInfo, type EngineOptions, type FromEngine, type ToEngine } from "../engine/index.js";
import type { EnginePort } from "./engine-port.js";

/** An engine in this process: for one-shot commands and scripts. Computing blocks the event loop for a step at a time. */
export class InlineEngine implements EnginePort {
  readonly info: EngineInfo;
  readonly #engine: Engine;
  readonly #running: Promise<void>;
  #listener: (message: FromEngine) => void = () => {};

  static async start(
    options: EngineOptions,
    onMessage: (message: FromEngine) => void = () => {},
  ): Promise<InlineEngine> {
    let emit = onMessage;
    const engine = await Engine.open(options, (message) => emit(message));
    const port = new InlineEngine(engine);
    emit = (message) => port.#listener(message);
    return port;
  }

  private constructor(engine: Engine) {
    this.#engine = engine;
    this.info = engine.info;
    this.#running = engine
      .run()
      .catch((error: unknown) => this.#listener({ type: "broken", error: errorToData(error) }));
  }

  send(message: ToEngine): void {
    if (message.type === "submit") this.#engine.submit(message.spec);
    else this.#engine.abort(message.id);
  }

  listen(listener: (message: FromEngine) => void): void {
    this.#listener = listener;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#engine.stop();
    await this.#running;
    this.#engine[Symbol.dispose]();
  }
}
