import type { ChatMessage, ModelConfig } from "../core/index.js";
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
  readonly config: Pick<ModelConfig, "vocabSize">;
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

  /** @throws {InvalidFile | UnsupportedModel} if there is no usable tokenizer, or none of this model, or the template is malformed */
  constructor({ path, text, configJson, config }: TextFormatSource) {
    this.tokenizer = Tokenizer.from(text, path);
    this.tokenizer.checkFits(config);
    this.template = text.chatTemplate === undefined ? undefined : new ChatTemplate(text.chatTemplate, this.tokenizer);
    const { generationConfig } = text;
    this.endTokens = endTokensOf({ generationConfig, configJson, eosTokenId: this.tokenizer.eosTokenId });
  }

  /**
   * A chat whose last message is its answer. What the template puts behind the end of the turn is left out; a template that ends
   * no turn leaves the answer without an end.
   *
   * @returns undefined where there is no template, or the answer cannot be told in what it renders
   * @throws {InvalidRequest} if the template refuses the messages
   */
  chatTokens(messages: readonly ChatMessage[]): ChatTokens | undefined {
    if (!this.template) return undefined;
    const promptText = this.template.render(messages.slice(0, -1));
    const text = this.template.render(messages, { addGenerationPrompt: false });
    const encode = (part: string) => this.tokenizer.encode(part, { addSpecialTokens: false });
    const prompt = encode(promptText);
    const answer = text.startsWith(promptText)
      ? (continuation(prompt, encode(text)) ?? encode(text.slice(promptText.length)))
      : // The prompt may open what an answered chat does not have, such as a place to think: the answer begins with its own text.
        encode(fromLast(text, messages.at(-1)!.content.trim()));
    if (answer.length === 0) return undefined;
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

/** What of `whole` follows `prompt`; undefined where a token lies across the boundary, and the two are better tokenised apart. */
function continuation(prompt: readonly number[], whole: readonly number[]): number[] | undefined {
  return prompt.every((token, at) => token === whole[at]) ? whole.slice(prompt.length) : undefined;
}

/** A text from the last place on where `part` is in it; nothing where it is not. */
function fromLast(text: string, part: string): string {
  const at = text.lastIndexOf(part);
  return at === -1 ? "" : text.slice(at);
}
