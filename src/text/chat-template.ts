import { Template } from "@huggingface/jinja";
import { type ChatMessage, InvalidFile, InvalidRequest } from "../core/index.js";

/** What a template needs of a tokenizer: the texts of the tokens it may name, and the model's path for errors. */
export interface TemplateTokens {
  readonly path: string;
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
  readonly unkToken: string | undefined;
  readonly padToken: string | undefined;
}

/** How a chat is rendered. */
export interface RenderOptions {
  /** End with the beginning of the assistant's answer. Default true. */
  readonly addGenerationPrompt?: boolean;
}

/** A model's Jinja template, which turns a chat into the text that the model was trained on. */
export class ChatTemplate {
  readonly #template: Template;
  readonly #tokens: Readonly<Record<string, string>>;

  /** @throws {InvalidFile} if `source` is not a template */
  constructor(source: string, tokens: TemplateTokens) {
    try {
      this.#template = new Template(source);
    } catch (cause) {
      throw new InvalidFile(tokens.path, `its chat template is malformed: ${(cause as Error).message}`, { cause });
    }
    const named = {
      bos_token: tokens.bosToken,
      eos_token: tokens.eosToken,
      unk_token: tokens.unkToken,
      pad_token: tokens.padToken,
    };
    this.#tokens = Object.fromEntries(
      Object.entries(named).flatMap(([key, text]) => (text === undefined ? [] : [[key, text]])),
    );
  }

  /**
   * Renders a chat as the transformers library does without tools or documents.
   *
   * @throws {InvalidRequest} if the template refuses the messages; the reason is the template's own
   */
  render(messages: readonly ChatMessage[], { addGenerationPrompt = true }: RenderOptions = {}): string {
    try {
      return this.#template.render({
        ...this.#tokens,
        messages,
        tools: null,
        documents: null,
        add_generation_prompt: addGenerationPrompt,
      });
    } catch (cause) {
      throw new InvalidRequest(
        "messages",
        `The model's chat template refuses these messages: ${(cause as Error).message}`,
      );
    }
  }
}
