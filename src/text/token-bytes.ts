import { UnsupportedModel } from "../core/index.js";
import { isRecord } from "../util/index.js";
import type { TokenizerJson } from "./tokenizer-json.js";

/** How the text of a vocabulary entry stands for bytes. */
interface Spelling {
  /** GPT-2's alphabet, a printable character for each byte; otherwise plain text. */
  readonly byteAlphabet: boolean;
  /** The character that stands for a space; null for the space itself. */
  readonly space: string | null;
  /** `<0x0A>` is the byte 10. */
  readonly byteTokens: boolean;
  /** A space that begins a text is not part of it. */
  readonly stripsFirstSpace: boolean;
}

const none = new Uint8Array();
const encoder = new TextEncoder();

/** The bytes behind each token of a vocabulary. Text is their concatenation, read as UTF-8. */
export class TokenBytes {
  /** Whether a text's first space was put there by the tokenizer. */
  readonly stripsFirstSpace: boolean;
  readonly #spelling: Spelling;
  readonly #texts: string[] = [];
  readonly #added = new Set<number>();
  readonly #cache: Uint8Array[] = [];

  /** @throws {UnsupportedModel} if its decoder has a step that is not known; `path` names it there */
  constructor(path: string, json: TokenizerJson) {
    this.#spelling = parseSpelling(path, json);
    this.stripsFirstSpace = this.#spelling.stripsFirstSpace;
    for (const [text, id] of Object.entries(json.model.vocab)) this.#texts[id] = text;
    for (const { id, content } of json.added_tokens) {
      this.#texts[id] = content;
      this.#added.add(id);
    }
  }

  /** One more than the highest id. */
  get vocabSize(): number {
    return this.#texts.length;
  }

  /** A token's bytes, which need not be whole characters; none for an id without a token. Not to be changed. */
  of(id: number): Uint8Array {
    const text = this.#texts[id];
    if (text === undefined) return none;
    this.#cache[id] ??= this.#added.has(id) ? encoder.encode(text) : spell(text, this.#spelling);
    return this.#cache[id];
  }
}

function spell(text: string, { byteAlphabet, space, byteTokens }: Spelling): Uint8Array {
  if (byteAlphabet) {
    const bytes = [...text].map((character) => alphabet.get(character));
    return bytes.includes(undefined) ? encoder.encode(text) : Uint8Array.from(bytes as number[]);
  }
  const hex = byteTokens ? /^<0x([0-9A-Fa-f]{2})>$/.exec(text)?.[1] : undefined;
  if (hex !== undefined) return Uint8Array.of(Number.parseInt(hex, 16));
  return encoder.encode(space === null ? text : text.replaceAll(space, " "));
}

/** GPT-2's characters for bytes: printable Latin-1 stands for itself, the others, in order, for U+0100 and on. */
const alphabet: ReadonlyMap<string, number> = (() => {
  const isPrintable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let next = 256;
  return new Map(
    Array.from({ length: 256 }, (_, byte) => [String.fromCharCode(isPrintable(byte) ? byte : next++), byte] as const),
  );
})();

function parseSpelling(path: string, { decoder }: TokenizerJson): Spelling {
  let spelling: Spelling = { byteAlphabet: false, space: null, byteTokens: false, stripsFirstSpace: false };
  for (const step of stepsOf(decoder)) spelling = { ...spelling, ...parseStep(path, step) };
  return spelling;
}

function stepsOf(decoder: unknown): unknown[] {
  if (!isRecord(decoder) || decoder.type !== "Sequence") return [decoder];
  return Array.isArray(decoder.decoders) ? decoder.decoders.flatMap(stepsOf) : [undefined];
}

function parseStep(path: string, step: unknown): Partial<Spelling> {
  const fields = isRecord(step) ? step : {};
  switch (fields.type) {
    case "ByteLevel":
      return { byteAlphabet: true };
    case "ByteFallback":
      return { byteTokens: true };
    case "Fuse":
      return {};
    case "Replace": {
      const from = isRecord(fields.pattern) ? fields.pattern.String : undefined;
      if (typeof from === "string" && from !== "" && fields.content === " ") return { space: from };
      break;
    }
    case "Strip":
      if (fields.content === " " && fields.start === 1 && (fields.stop ?? 0) === 0) return { stripsFirstSpace: true };
      break;
    case "Metaspace":
      return { space: String(fields.replacement ?? "\u2581"), stripsFirstSpace: fields.prepend_scheme !== "never" };
  }
  throw new UnsupportedModel(path, `its tokenizer has a decoder that is not known: ${JSON.stringify(step ?? null)}`);
}
