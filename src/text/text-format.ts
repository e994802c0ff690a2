import type { ChatMessage } from "../core/index.js";
import { ChatTemplate } from "./chat-template.js";
import { endTokensOf } from "./end-tokens.js";
import { Tokenizer, type TokenizerFiles } from "./tokenizer.js";

/** What a {@link TextFormat} is made from; a checkpoint has it. */
export interface TextFormatSource {
  /** Names the model in errors. */
  readonly path: string;
  readonly text: TokenizerFiles & {
    readonly chatTemplate: string | undefined;
    readonly generationConfig: Readonly<Record<string, unknown>>;
  };
  readonly configJson: Readonly<Record<string, unknown>>;
}

/** A chat in tokens: a prompt that asks for an answer, and an answer to it that ends with the token that ends a turn. */
export interface ChatTokens {
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
}

/** How whole texts of a model become tokens: its tokenizer, its chat template, and the tokens that end a turn. */
export class TextFormat {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate | undefined;
  readonly endTokens: readonly number[];

  /** @throws {InvalidFile | UnsupportedModel} if there is no usable tokenizer, or the template is malformed */
  constructor({ path, text, configJson }: TextFormatSource) {
    this.tokenizer = Tokenizer.from(text, path);
    this.template = text.chatTemplate === undefined ? undefined : new ChatTemplate(text.chatTemplate, this.tokenizer);
    const { generationConfig } = text;
    this.endTokens = endTokensOf({ generationConfig, configJson, eosTokenId: this.tokenizer.eosTokenId });
  }

  /**
   * A chat whose last message is its answer. What the template puts behind the end of the turn is left out; a template that ends
   * no turn leaves the answer without an end.
   *
   * @returns undefined where there is no template, or it does not render the chat as its prompt and something more
   * @throws {InvalidRequest} if the template refuses the messages
   */
  chatTokens(messages: readonly ChatMessage[]): ChatTokens | undefined {
    if (!this.template) return undefined;
    const promptText = this.template.render(messages.slice(0, -1));
    const text = this.template.render(messages, { addGenerationPrompt: false });
    if (!text.startsWith(promptText)) return undefined;
    const encode = (part: string) => this.tokenizer.encode(part, { addSpecialTokens: false });
    const prompt = encode(promptText);
    const whole = encode(text);
    // Where the boundary lies inside a token of the whole, the two are tokenised apart, as a server does.
    const isPrefix = prompt.every((token, at) => token === whole[at]);
    const answer = isPrefix ? whole.slice(prompt.length) : encode(text.slice(promptText.length));
    const end = answer.findIndex((token) => this.endTokens.includes(token));
    return { prompt, answer: end === -1 ? answer : answer.slice(0, end + 1) };
  }

  /** A text in stretches of `windowTokens`, the last one what is left; each begins with BOS where the tokenizer puts one. */
  windowsOf(text: string, windowTokens: number): number[][] {
    const { bosTokenId } = this.tokenizer;
    const [first] = this.tokenizer.encode("", { addSpecialTokens: true });
    const start = first !== undefined && first === bosTokenId ? [first] : [];
    const tokens = this.tokenizer.encode(text, { addSpecialTokens: false });
    const stride = windowTokens - start.length;
    return Array.from({ length: Math.ceil(tokens.length / stride) }, (_, window) => [
      ...start,
      ...tokens.slice(window * stride, (window + 1) * stride),
    ]);
  }
}
