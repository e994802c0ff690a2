import { InvalidFile, UnsupportedModel } from "../core/index.js";
import { isRecord } from "../util/index.js";

/** A part of tokenizer.json that the tokenizer library interprets: a pre-tokenizer, say. */
export type TokenizerPart = Readonly<Record<string, unknown>> | null;

/** A token outside the byte-pair vocabulary proper; its text is found before anything else is done. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Steers the model rather than being text: left out of decoded text. */
  readonly special: boolean;
  readonly normalized?: boolean;
}

/** The parts of a tokenizer.json that are used, checked as far as this folder relies on them. */
export interface TokenizerJson {
  readonly added_tokens: readonly AddedToken[];
  readonly normalizer: TokenizerPart;
  readonly pre_tokenizer: TokenizerPart;
  readonly post_processor: TokenizerPart;
  readonly decoder: TokenizerPart;
  readonly model: Readonly<Record<string, unknown>> & {
    /** Token → id. */
    readonly vocab: Readonly<Record<string, number>>;
    readonly unk_token: string | null;
    readonly byte_fallback: boolean;
  };
}

/** Keeps a corrupt id from making a table of billions; the largest vocabularies have some 300,000 tokens. */
const tokenIdMax = 2 ** 24;

/**
 * Checks the shape of a parsed tokenizer.json. `path` names it in errors.
 *
 * @throws {InvalidFile} naming the part that is malformed
 * @throws {UnsupportedModel} for a model other than byte-pair encoding
 */
export function parseTokenizerJson(path: string, json: Readonly<Record<string, unknown>>): TokenizerJson {
  const part = (name: string): TokenizerPart => {
    const value = json[name] ?? null;
    if (value !== null && !isRecord(value)) throw malformed(path, `${name} is neither an object nor null`);
    return value;
  };
  return {
    added_tokens: parseAddedTokens(path, json.added_tokens ?? []),
    normalizer: part("normalizer"),
    pre_tokenizer: part("pre_tokenizer"),
    post_processor: part("post_processor"),
    decoder: part("decoder"),
    model: parseModel(path, json.model),
  };
}

function parseModel(path: string, model: unknown): TokenizerJson["model"] {
  if (!isRecord(model)) throw malformed(path, "model is not an object");
  const { type = "BPE", vocab, merges, unk_token = null, byte_fallback = false } = model;
  if (type !== "BPE") {
    throw new UnsupportedModel(path, `its tokenizer is of type ${JSON.stringify(type)}; only "BPE" is known`);
  }
  if (!isRecord(vocab) || !Object.values(vocab).every(isTokenId))
    throw malformed(path, "model.vocab does not map text to ids");
  if (!Array.isArray(merges) || !merges.every(isMerge)) throw malformed(path, "model.merges is not a list of pairs");
  if (unk_token !== null && typeof unk_token !== "string")
    throw malformed(path, "model.unk_token is neither text nor null");
  if (typeof byte_fallback !== "boolean") throw malformed(path, "model.byte_fallback is neither true nor false");
  return { ...model, type, vocab: vocab as Readonly<Record<string, number>>, unk_token, byte_fallback };
}

function parseAddedTokens(path: string, value: unknown): AddedToken[] {
  if (!Array.isArray(value)) throw malformed(path, "added_tokens is not a list");
  return value.map((token: unknown) => {
    if (!isRecord(token) || !isTokenId(token.id) || typeof token.content !== "string" || token.content === "") {
      throw malformed(path, `added_tokens has ${JSON.stringify(token)}, expected an id and its text`);
    }
    return { ...token, id: token.id, content: token.content, special: token.special === true };
  });
}

function isTokenId(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < tokenIdMax;
}

function isMerge(value: unknown): boolean {
  const pair = typeof value === "string" ? value.split(" ") : value;
  return Array.isArray(pair) && pair.length === 2 && pair.every((item) => typeof item === "string");
}

function malformed(path: string, problem: string): InvalidFile {
  return new InvalidFile(path, `its tokenizer is malformed: ${problem}`);
}
