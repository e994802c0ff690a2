import type { CompletionRequest, Prompt, SamplingParams } from "../core/index.js";
import { Fields, invalid } from "./fields.js";
import { parseMessages, parsePrompts } from "./prompt.js";
import {
  chatNeutralValues,
  type NeutralValues,
  refuseUnsupported,
  sharedNeutralValues,
  streamNeutralValues,
  textNeutralValues,
} from "./unsupported.js";

/** Choices that one prompt may ask for (`n`). */
const choicesPerPromptMax = 8;
/** Choices that one request may ask for over all its prompts. */
const choicesMax = 128;
const stopStringsMax = 4;
/** Tokens of a text completion whose client named no limit; OpenAI's number. */
const textMaxTokensDefault = 16;

const penaltyRange = { min: -2, max: 2 };
const priorityRange = { min: -(2 ** 31), max: 2 ** 31 - 1 };
/** Seconds; a day is longer than any answer takes. */
const timeoutRange = { min: 0.001, max: 86_400 };
const positiveIntegers = { min: 1, max: Number.MAX_SAFE_INTEGER };

/** What a client ordered: the completions to run, and how the answer is to be given. */
export interface Order {
  readonly model: string;
  /** Prompt by prompt, {@link choicesPerPrompt} of each; a completion's place here is its choice's `index`. */
  readonly completions: readonly CompletionRequest[];
  readonly choicesPerPrompt: number;
  /** Lower is handled earlier. */
  readonly priority: number;
  /** The answer is of no use after so long. Null: it has time. */
  readonly timeoutMs: number | null;
  /** Answer as server-sent events. */
  readonly stream: boolean;
  /** End a streamed answer with a chunk that holds the usage. */
  readonly includeUsage: boolean;
  readonly logprobs: boolean;
}

/**
 * Reads the body of POST /v1/chat/completions.
 *
 * @throws {InvalidRequest} naming the field that is wrong, or that this server does not act on
 */
export function parseChatOrder(json: unknown): Order {
  const body = new Fields(json);
  return parseOrder(body, {
    neutralValues: chatNeutralValues,
    prompts: () => [{ kind: "chat", messages: parseMessages(body) }],
    maxTokensDefault: null,
    topLogprobs: () => parseChatLogprobs(body),
  });
}

/**
 * Reads the body of POST /v1/completions.
 *
 * @throws {InvalidRequest} naming the field that is wrong, or that this server does not act on
 */
export function parseTextOrder(json: unknown): Order {
  const body = new Fields(json);
  return parseOrder(body, {
    neutralValues: textNeutralValues,
    prompts: () => parsePrompts(body),
    maxTokensDefault: textMaxTokensDefault,
    topLogprobs: () => body.integer("logprobs", { min: 0, max: 5 }) ?? null,
  });
}

/** Where the two APIs ask differently. */
interface Differences {
  readonly neutralValues: NeutralValues;
  readonly maxTokensDefault: number | null;
  prompts(): readonly Prompt[];
  topLogprobs(): number | null;
}

function parseOrder(body: Fields, differences: Differences): Order {
  const model = body.value("model");
  if (typeof model !== "string" || model === "") throw body.unexpected("model", "the name of a model");
  refuseUnsupported(body, differences.neutralValues);
  refuseUnsupported(body, sharedNeutralValues);

  const prompts = differences.prompts();
  const choicesPerPrompt = body.integer("n", { min: 1, max: choicesPerPromptMax }) ?? 1;
  if (prompts.length * choicesPerPrompt > choicesMax) {
    const asked = `${prompts.length} prompts of ${choicesPerPrompt} choices each`;
    throw invalid("prompt", `prompt: expected at most ${choicesMax} choices in a request, got ${asked}`);
  }

  const sampling = parseSampling(body);
  const maxTokens =
    body.integer("max_completion_tokens", positiveIntegers) ??
    body.integer("max_tokens", positiveIntegers) ??
    differences.maxTokensDefault;
  const minTokens = parseMinTokens(body, maxTokens);
  const stop = parseStop(body);
  const topLogprobs = differences.topLogprobs();
  const completions = prompts.flatMap((prompt) =>
    Array.from({ length: choicesPerPrompt }, (_, choice) => {
      return { model, prompt, sampling: forChoice(sampling, choice), maxTokens, minTokens, stop, topLogprobs };
    }),
  );
  const timeoutSeconds = body.number("timeout", timeoutRange);
  return {
    model,
    completions,
    choicesPerPrompt,
    priority: body.integer("priority", priorityRange) ?? 0,
    timeoutMs: timeoutSeconds === undefined ? null : 1000 * timeoutSeconds,
    logprobs: topLogprobs !== null,
    ...parseStream(body),
  };
}

/** vLLM's `min_tokens`, and `ignore_eos` as one that is never reached. */
function parseMinTokens(body: Fields, maxTokens: number | null): number {
  const minTokens = body.integer("min_tokens", { min: 0, max: Number.MAX_SAFE_INTEGER }) ?? 0;
  if (maxTokens !== null && minTokens > maxTokens) {
    throw invalid("min_tokens", `min_tokens: expected at most the ${maxTokens} tokens of the answer, got ${minTokens}`);
  }
  return body.boolean("ignore_eos") ? Number.POSITIVE_INFINITY : minTokens;
}

function parseSampling(body: Fields): Partial<SamplingParams> {
  const topK = body.integer("top_k", { min: -1, max: Number.MAX_SAFE_INTEGER });
  const seed = body.integer("seed", { min: -(2 ** 63), max: 2 ** 63 });
  return present({
    temperature: body.number("temperature", { min: 0, max: 2 }),
    topP: body.number("top_p", { min: 0, max: 1 }),
    // −1 is vLLM's word for "all", 0 is ours.
    topK: topK === -1 ? 0 : topK,
    minP: body.number("min_p", { min: 0, max: 1 }),
    presencePenalty: body.number("presence_penalty", penaltyRange),
    frequencyPenalty: body.number("frequency_penalty", penaltyRange),
    repetitionPenalty: body.number("repetition_penalty", { min: 0.01, max: 100 }),
    logitBias: parseLogitBias(body),
    // A 64-bit seed folds into 52 bits, where seed + choice is still exact in a double.
    seed: seed === undefined ? undefined : seed % 2 ** 52,
  });
}

/** A client's seed names one draw; the choices of a prompt must differ. */
function forChoice(sampling: Partial<SamplingParams>, choice: number): Partial<SamplingParams> {
  return sampling.seed === undefined ? sampling : { ...sampling, seed: sampling.seed + choice };
}

function parseLogitBias(body: Fields): [token: number, bias: number][] | undefined {
  const biases = body.object("logit_bias");
  return biases?.names().map((token) => {
    if (!/^\d{1,15}$/.test(token)) {
      throw invalid("logit_bias", `logit_bias: expected token ids as keys, got ${JSON.stringify(token)}`);
    }
    const bias = biases.number(token, { min: -100, max: 100 });
    if (bias === undefined) throw biases.unexpected(token, "a number from -100 to 100");
    return [Number(token), bias];
  });
}

function parseStop(body: Fields): string[] {
  const value = body.value("stop");
  if (value === undefined) return [];
  const stop: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (stop.length <= stopStringsMax && stop.every((text) => typeof text === "string" && text !== "")) {
    return stop as string[];
  }
  throw body.unexpected("stop", `a string or up to ${stopStringsMax} strings, none of them empty`);
}

function parseChatLogprobs(body: Fields): number | null {
  const logprobs = body.boolean("logprobs") ?? false;
  const topLogprobs = body.integer("top_logprobs", { min: 0, max: 20 });
  if (!logprobs && topLogprobs !== undefined) {
    throw invalid("top_logprobs", "top_logprobs: expected logprobs to be true beside it");
  }
  return logprobs ? (topLogprobs ?? 0) : null;
}

function parseStream(body: Fields): Pick<Order, "stream" | "includeUsage"> {
  const stream = body.boolean("stream") ?? false;
  const options = body.object("stream_options");
  if (options === undefined) return { stream, includeUsage: false };
  if (!stream) throw invalid("stream_options", "stream_options: expected stream to be true beside it");
  refuseUnsupported(options, streamNeutralValues);
  return { stream, includeUsage: options.boolean("include_usage") ?? false };
}

/** Without the entries that are undefined. */
function present<T extends object>(values: { readonly [K in keyof T]: T[K] | undefined }): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>;
}
