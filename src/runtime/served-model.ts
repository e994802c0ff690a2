import { InvalidRequest, type ModelCard, type Prompt, type SamplingParams } from "../core/index.js";
import type { TextAssets } from "../formats/index.js";
import { ChatTemplate, endTokensOf, type Tokenizer } from "../text/index.js";

/** What a model's text needs, whoever it is for: the base, or a variant with its own tokenizer or template. */
export interface ServedModelInit {
  readonly card: ModelCard;
  readonly variant: string | null;
  readonly assets: TextAssets;
  /** Shared when a variant has no tokenizer of its own. */
  readonly tokenizer: Tokenizer;
  /** Rows of its embedding: token ids a client may send are below this. */
  readonly vocabSize: number;
  /** config.json, for the end tokens that older checkpoints state only there. */
  readonly configJson: Readonly<Record<string, unknown>>;
}

/** A name that clients may ask for, with everything between its text and its tokens. */
export class ServedModel {
  readonly card: ModelCard;
  /** Null for the base. */
  readonly variant: string | null;
  readonly tokenizer: Tokenizer;
  readonly endTokens: readonly number[];
  /** What generation_config.json recommends. */
  readonly samplingDefaults: Partial<SamplingParams>;
  readonly #template: ChatTemplate | undefined;
  readonly #vocabSize: number;

  constructor(init: ServedModelInit) {
    const { assets, tokenizer } = init;
    this.card = init.card;
    this.variant = init.variant;
    this.tokenizer = tokenizer;
    this.#vocabSize = init.vocabSize;
    tokenizer.checkFits(init);
    this.#template = assets.chatTemplate === undefined ? undefined : new ChatTemplate(assets.chatTemplate, tokenizer);
    const { generationConfig } = assets;
    this.endTokens = endTokensOf({ generationConfig, configJson: init.configJson, eosTokenId: tokenizer.eosTokenId });
    this.samplingDefaults = samplingOf(generationConfig);
  }

  /** @throws {InvalidRequest} naming the field that cannot be turned into tokens */
  tokensOf(prompt: Prompt): number[] {
    switch (prompt.kind) {
      case "text":
        return this.tokenizer.encode(prompt.text, { addSpecialTokens: true });
      case "tokens": {
        const outside = prompt.tokens.find((token) => token >= this.#vocabSize);
        if (outside === undefined) return [...prompt.tokens];
        throw new InvalidRequest(
          "prompt",
          `Token ${outside} is outside the vocabulary of ${this.card.id}, which has ${this.#vocabSize}`,
        );
      }
      case "chat": {
        if (!this.#template) {
          throw new InvalidRequest("messages", `The model ${this.card.id} has no chat template; use /v1/completions`);
        }
        return this.tokenizer.encode(this.#template.render(prompt.messages), { addSpecialTokens: false });
      }
    }
  }
}

function samplingOf(config: Readonly<Record<string, unknown>>): Partial<SamplingParams> {
  const numbers = {
    temperature: config.temperature,
    topP: config.top_p,
    topK: config.top_k,
    minP: config.min_p,
    repetitionPenalty: config.repetition_penalty,
  };
  return Object.fromEntries(Object.entries(numbers).filter(([, value]) => typeof value === "number"));
}
