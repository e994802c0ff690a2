import { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import { InvalidFile, type ModelConfig } from "../core/index.js";
import { isRecord } from "../util/index.js";
import { correctForLibrary } from "./library-corrections.js";
import { asLlamaTokenizer } from "./llama-tokenizer.js";
import { TokenBytes } from "./token-bytes.js";
import { parseTokenizerJson } from "./tokenizer-json.js";

type Json = Readonly<Record<string, unknown>>;

/** The files a tokenizer is made from, parsed. */
export interface TokenizerFiles {
  /** tokenizer.json */
  readonly tokenizer: Json | undefined;
  /** tokenizer_config.json */
  readonly tokenizerConfig: Json;
}

/** How tokens become text. */
export interface DecodeOptions {
  /** Leave out tokens that are not text, such as the end of a turn. Default true. */
  readonly skipSpecial?: boolean;
  /** The text goes on where other text stopped: keep a first space that would otherwise be the tokenizer's own. */
  readonly continues?: boolean;
}

/** Text to token ids and back, exactly as the transformers library does it for the same files. */
export class Tokenizer {
  /** Where it was read from, for errors. */
  readonly path: string;
  readonly bosToken: string | undefined;
  readonly bosTokenId: number | undefined;
  readonly eosToken: string | undefined;
  readonly eosTokenId: number | undefined;
  readonly unkToken: string | undefined;
  readonly padToken: string | undefined;
  readonly #library: LibraryTokenizer;
  readonly #bytes: TokenBytes;
  readonly #special: ReadonlySet<number>;

  private constructor(path: string, tokenizer: Json, config: Json) {
    const json = correctForLibrary(path, asLlamaTokenizer(parseTokenizerJson(path, tokenizer), config));
    this.path = path;
    this.bosToken = tokenName(config.bos_token);
    this.eosToken = tokenName(config.eos_token);
    this.unkToken = tokenName(config.unk_token);
    this.padToken = tokenName(config.pad_token);
    this.#bytes = new TokenBytes(path, json);

    const ids = new Map(Object.entries(json.model.vocab));
    for (const { content, id } of json.added_tokens) ids.set(content, id);
    const idOf = (token: string | undefined) => (token === undefined ? undefined : ids.get(token));
    this.bosTokenId = idOf(this.bosToken);
    this.eosTokenId = idOf(this.eosToken);
    const named = [this.bosTokenId, this.eosTokenId, idOf(this.unkToken), idOf(this.padToken)];
    const added = json.added_tokens.filter(({ special }) => special).map(({ id }) => id);
    this.#special = new Set([...named.filter((id) => id !== undefined), ...added]);

    this.#library = this.#attempt("be set up", () => new LibraryTokenizer(json, {}));
    this.encode("A first text, to see: 1 + 1 = 2.", { addSpecialTokens: true });
  }

  /**
   * Makes a tokenizer from a model's files; `path` names the model in errors.
   *
   * @throws {InvalidFile} if tokenizer.json is missing or malformed
   * @throws {UnsupportedModel} if it is of a kind that is not known
   */
  static from(files: TokenizerFiles, path: string): Tokenizer {
    if (!files.tokenizer) throw new InvalidFile(path, "it has no tokenizer (tokenizer.json)");
    return new Tokenizer(path, files.tokenizer, files.tokenizerConfig);
  }

  /** One more than the highest token id; a model may have more rows than that. */
  get vocabSize(): number {
    return this.#bytes.vocabSize;
  }

  /** @throws {InvalidFile} if it has tokens that a model of so many words lacks */
  checkFits({ vocabSize }: Pick<ModelConfig, "vocabSize">): void {
    if (this.vocabSize <= vocabSize) return;
    const problem = `its tokenizer has ${this.vocabSize} tokens, its embedding ${vocabSize} rows; they are of different models`;
    throw new InvalidFile(this.path, problem);
  }

  /**
   * Text → ids. `addSpecialTokens` puts around it what tokenizer.json's post-processor does, such as a BOS token (the
   * `add_bos_token` of tokenizer_config.json is not read, as in transformers 5); a rendered chat has that already.
   */
  encode(text: string, options: { readonly addSpecialTokens: boolean }): number[] {
    const addSpecial = options.addSpecialTokens;
    const { ids } = this.#attempt("encode a text", () =>
      this.#library.encode(text, { add_special_tokens: addSpecial }),
    );
    if (!ids.every(Number.isInteger)) throw new InvalidFile(this.path, "its tokenizer gives tokens that have no id");
    return ids;
  }

  /** Ids → text. Bytes that are not UTF-8 become U+FFFD; an id without a token is nothing. */
  decode(tokens: readonly number[], options: DecodeOptions = {}): string {
    const { skipSpecial = true, continues = false } = options;
    const shown = skipSpecial ? tokens.filter((token) => !this.isSpecial(token)) : tokens;
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(
      Buffer.concat(shown.map((token) => this.tokenBytes(token))),
    );
    return this.#bytes.stripsFirstSpace && !continues && text.startsWith(" ") ? text.slice(1) : text;
  }

  /** The bytes that a token adds to a text, which may be part of a character. Not to be changed. */
  tokenBytes(token: number): Uint8Array {
    return this.#bytes.of(token);
  }

  /** Whether a token steers the model instead of being text. */
  isSpecial(token: number): boolean {
    return this.#special.has(token);
  }

  /** Runs the library, which throws plain errors where a file asks for what it does not know. */
  #attempt<T>(what: string, run: () => T): T {
    try {
      return run();
    } catch (cause) {
      throw new InvalidFile(this.path, `its tokenizer cannot ${what}: ${(cause as Error).message}`, { cause });
    }
  }
}

/** A token's text as tokenizer_config.json has it: plain, or in an object. */
function tokenName(value: unknown): string | undefined {
  const name = isRecord(value) ? value.content : value;
  return typeof name === "string" ? name : undefined;
}
