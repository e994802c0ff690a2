import { embeddingName, type ModelConfig, ownHeadName, parametersOf, tensorBytes } from "../core/index.js";
import { assert } from "../util/index.js";
import type { Checkpoint, StoredTensor } from "./checkpoint.js";

/**
 * A checkpoint as if it had other words: fewer of them, or an output head of its own that has its embedding's values. So a base and
 * a fine-tune of it can be compared tensor by tensor. Name, path, files and fingerprint stay the checkpoint's, and so does closing it.
 *
 * @param vocabulary what it is to have: at most its own words, and a head of its own if it has one
 */
export function withVocabulary(
  checkpoint: Checkpoint,
  vocabulary: Pick<ModelConfig, "vocabSize" | "tiedEmbeddings">,
): Checkpoint {
  const { config } = checkpoint;
  const { vocabSize, tiedEmbeddings } = vocabulary;
  assert(vocabSize <= config.vocabSize, `${checkpoint.path} has ${config.vocabSize} words, ${vocabSize} are asked for`);
  assert(config.tiedEmbeddings || !tiedEmbeddings, `${checkpoint.path} has an output head of its own`);
  if (vocabSize === config.vocabSize && tiedEmbeddings === config.tiedEmbeddings) return checkpoint;
  return new VocabularyView(checkpoint, { ...config, vocabSize, tiedEmbeddings });
}

class VocabularyView implements Checkpoint {
  readonly config: ModelConfig;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly #whole: Checkpoint;

  constructor(whole: Checkpoint, config: ModelConfig) {
    this.config = config;
    this.#whole = whole;
    this.tensors = new Map(
      parametersOf(config).map(({ name, shape }) => {
        const { dtype } = this.#stored(name);
        return [name, { name, shape, dtype, byteLength: tensorBytes(dtype, shape) }];
      }),
    );
  }

  get name(): string {
    return this.#whole.name;
  }

  get path(): string {
    return this.#whole.path;
  }

  get configJson(): Checkpoint["configJson"] {
    return this.#whole.configJson;
  }

  get text(): Checkpoint["text"] {
    return this.#whole.text;
  }

  async read(name: string, into: Uint8Array): Promise<void> {
    const stored = this.#stored(name);
    if (into.length === stored.byteLength) return this.#whole.read(stored.name, into);
    const bytes = new Uint8Array(stored.byteLength);
    await this.#whole.read(stored.name, bytes);
    into.set(bytes.subarray(0, into.length));
  }

  fingerprint(): Promise<string> {
    return this.#whole.fingerprint();
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** The tensor behind one of the view's. */
  #stored(name: string): StoredTensor {
    const { config, tensors, path } = this.#whole;
    const stored = tensors.get(name === ownHeadName && config.tiedEmbeddings ? embeddingName : name);
    assert(stored, `${path} was asked for "${name}", which it does not list`);
    return stored;
  }
}
