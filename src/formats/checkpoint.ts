import type { DType, ModelConfig } from "../core/index.js";
import { assert } from "../util/index.js";

/** One stored tensor under Hugging Face's name; row-major, last dimension fastest. */
export interface StoredTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** Size of its bytes as `read` gives them. */
  readonly byteLength: number;
}

/** The files that say how text becomes tokens, as parsed JSON or text; undefined where a folder has none. */
export interface TextAssets {
  /** tokenizer.json (a GGUF's embedded vocabulary is converted to the same form). */
  readonly tokenizer: Readonly<Record<string, unknown>> | undefined;
  readonly tokenizerConfig: Readonly<Record<string, unknown>>;
  /** Jinja source, from chat_template.jinja, or tokenizer_config.json's `chat_template`. */
  readonly chatTemplate: string | undefined;
  readonly generationConfig: Readonly<Record<string, unknown>>;
}

/** A model on disk, whatever its container: a Hugging Face folder or a GGUF file. Closing gives its files back. */
export interface Checkpoint extends AsyncDisposable {
  /** The folder's or file's base name, for people. */
  readonly name: string;
  readonly path: string;
  readonly config: ModelConfig;
  /** config.json as found (synthesised for GGUF). */
  readonly configJson: Readonly<Record<string, unknown>>;
  readonly text: TextAssets;
  /** Exactly the parameters that `config` asks for, in slot order, whatever else is stored. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Reads a tensor's bytes, in its stored dtype, into `into`, whose length must be its `byteLength`. */
  read(name: string, into: Uint8Array): Promise<void>;
  /**
   * SHA-256 (hex) over the sorted lines `name dtype shape sha256(bytes)`: the same for one file and for shards. Reads
   * everything once, then remembers it.
   */
  fingerprint(): Promise<string>;
}

/** A tensor's bytes as {@link Checkpoint.read} gives them. */
export async function readTensor(checkpoint: Checkpoint, name: string): Promise<Uint8Array> {
  const stored = checkpoint.tensors.get(name);
  assert(stored, `${checkpoint.path} was opened without "${name}"`);
  const bytes = new Uint8Array(stored.byteLength);
  await checkpoint.read(name, bytes);
  return bytes;
}
