import { randomInt, randomUUID } from "node:crypto";
import {
  type Completer,
  type CompletionEvent,
  type CompletionRequest,
  defaultSampling,
  type ErrorData,
  errorFromData,
  InvalidRequest,
  KindredError,
  type ModelCard,
  ModelNotFound,
  ordinary,
  type SequenceSpec,
  type ServiceEvent,
} from "../core/index.js";
import type { FromEngine } from "../engine/index.js";
import { Channel, unreachable } from "../util/index.js";
import type { EnginePort } from "./engine-port.js";
import { type Progress, RequestStream } from "./request-stream.js";
import { type Pending, Resubmission } from "./resubmission.js";
import type { ServedModel } from "./served-model.js";

interface Active extends Pending {
  readonly generated: number[];
  /** Tokens of the prompt that lay in the cache of the first engine. */
  cachedTokens: number;
  readonly channel: Channel<Progress>;
}

/**
 * Completes requests on one engine. Text stays on this side: the engine sees numbers. For every request it keeps the prompt and the
 * tokens received, so that when the engine dies its successor continues where it stopped; readers see a pause.
 */
export class LocalCompleter implements Completer {
  readonly #port: EnginePort;
  readonly #models: ReadonlyMap<string, ServedModel>;
  readonly #contextLength: number;
  readonly #active = new Map<string, Active>();
  readonly #resubmission: Resubmission;
  #broken: ErrorData | undefined;

  constructor(
    port: EnginePort,
    options: {
      models: readonly ServedModel[];
      contextLength: number;
      onEvent?: ((event: ServiceEvent) => void) | undefined;
    },
  ) {
    const report = options.onEvent ?? (() => {});
    this.#port = port;
    this.#resubmission = new Resubmission((spec) => port.send({ type: "submit", spec }));
    this.#models = new Map(options.models.map((model) => [model.card.id, model]));
    this.#contextLength = options.contextLength;
    port.listen((message) => {
      switch (message.type) {
        case "step":
          report({ type: "step", sequences: message.tokens.length });
          return this.#deliver(message);
        case "failed":
          return this.#active.get(message.id)?.channel.close(errorFromData(message.error));
        case "restarted":
          report({ type: "engineRestarted", sequences: this.#active.size });
          return this.#resubmission.restart(message);
        case "broken":
          this.#broken = message.error;
          for (const { channel } of this.#active.values()) channel.close(errorFromData(message.error));
          return;
        case "variantLoaded":
          return report(message);
        case "loading":
        case "ready":
          return; // said before this completer listened
        default:
          return unreachable(message);
      }
    });
  }

  models(): readonly ModelCard[] {
    return [...this.#models.values()].map((model) => model.card);
  }

  async *complete(request: CompletionRequest, signal: AbortSignal): AsyncGenerator<CompletionEvent> {
    signal.throwIfAborted();
    if (this.#broken) throw errorFromData(this.#broken);
    const model = this.#models.get(request.model);
    if (!model) throw new ModelNotFound(request.model);
    const spec = this.#specOf(request, model);
    const channel = new Channel<Progress>({ capacity: spec.maxTokens + 1 });
    const fail = (error: KindredError) => channel.close(error);
    const active: Active = { spec, generated: [], cachedTokens: 0, channel, fail };
    const abort = () => channel.close(new KindredError("aborted", 499, "The client left"));
    signal.addEventListener("abort", abort, { once: true });
    this.#active.set(spec.id, active);
    try {
      this.#resubmission.add(active);
      const stream = new RequestStream(request, model, spec);
      // The first token tells that the request was accepted: an overloaded or failing engine is heard before it.
      for await (const progress of channel) {
        yield* stream.push(progress);
        if (stream.isFinished) return;
      }
    } finally {
      signal.removeEventListener("abort", abort);
      this.#active.delete(spec.id);
      this.#resubmission.remove(active);
      this.#port.send({ type: "abort", id: spec.id }); // no-op once finished; gives the place back if the reader left
    }
  }

  #specOf(request: CompletionRequest, model: ServedModel): SequenceSpec {
    const prompt = model.tokensOf(request.prompt);
    const field = request.prompt.kind === "chat" ? "messages" : "prompt";
    const max = this.#contextLength;
    const asked = request.maxTokens ?? 1;
    if (prompt.length === 0) throw new InvalidRequest(field, "The prompt is empty: it must have at least one token");
    if (prompt.length + asked > max) {
      throw new InvalidRequest(
        field,
        `This model's maximum context length is ${max} tokens, but ${prompt.length} in the ${field} and ${asked} for the completion were asked for`,
        "context_length_exceeded",
      );
    }
    return {
      id: randomUUID(),
      variant: model.variant,
      prompt,
      generated: [],
      sampling: { seed: randomInt(2 ** 47), ...defaultSampling, ...model.samplingDefaults, ...request.sampling },
      maxTokens: request.maxTokens ?? max - prompt.length,
      endTokens: model.endTokens,
      minTokens: request.minTokens ?? 0,
      topLogprobs: request.topLogprobs,
      standing: request.standing ?? ordinary,
    };
  }

  #deliver({ started, tokens, finished }: Extract<FromEngine, { readonly type: "step" }>): void {
    for (const { id, cachedTokens } of started) {
      const active = this.#active.get(id);
      if (active && active.generated.length === 0) active.cachedTokens = cachedTokens;
    }
    const reasons = new Map(finished.map(({ id, reason }) => [id, reason]));
    for (const token of tokens) {
      const active = this.#active.get(token.id);
      if (!active) continue; // left while the step ran
      active.generated.push(token.token);
      const { channel, cachedTokens } = active;
      channel.push({ token, finished: reasons.get(token.id) ?? null, cachedTokens });
      this.#resubmission.progressed(active);
    }
  }
}
