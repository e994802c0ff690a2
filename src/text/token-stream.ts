/** What a stream needs of a tokenizer. */
export interface TokenText {
  tokenBytes(token: number): Uint8Array;
  isSpecial(token: number): boolean;
}

/**
 * Tokens in, text out as soon as it is whole: a character that several tokens share comes with the last of them.
 * What all pushes and the flush return, joined, is the tokens decoded at once as the continuation of a text.
 */
export class TokenStream {
  readonly #tokenizer: TokenText;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(tokenizer: TokenText) {
    this.#tokenizer = tokenizer;
  }

  /** The text that is whole with this token, often none. Special tokens are not text. */
  push(token: number): string {
    if (this.#tokenizer.isSpecial(token)) return "";
    return this.#decoder.decode(this.#tokenizer.tokenBytes(token), { stream: true });
  }

  /** What is left at the end: U+FFFD for a character that never became whole. The stream then starts anew. */
  flush(): string {
    return this.#decoder.decode();
  }
}
