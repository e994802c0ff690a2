import type { ModelConfig } from "../core/index.js";
import type { FileStamp } from "./byte-source.js";
import type { DeltaBlob, DeltaTensor } from "./delta-tensor.js";
import type { StoredBlob } from "./stored-blob.js";
import type { TextOverrides } from "./text-files.js";

/** A variant on disk as its difference to a base, whatever the format: what a server needs of it. Disposing closes its files. */
export interface VariantSource extends AsyncDisposable {
  /** The folder's name. */
  readonly name: string;
  readonly path: string;
  /** The variant's own. */
  readonly config: ModelConfig;
  /** config.json as found, the base's where a format has none. */
  readonly configJson: Readonly<Record<string, unknown>>;
  /** Every parameter of the variant by name, in slot order. */
  readonly tensors: ReadonlyMap<string, DeltaTensor>;
  /** What of tokenizer, template and defaults is not the base's. */
  readonly text: TextOverrides;
  /**
   * Fills `into`, whose length must be the blob's. Reads may overlap.
   *
   * @throws {InvalidFile} if the bytes are not those that were written
   */
  readBlob(blob: DeltaBlob, into: Uint8Array): Promise<void>;
  /** The file that blobs lie in. */
  readonly file: FileStamp;
  /** Where in it a blob lies, for whoever opens it again. */
  locate(blob: DeltaBlob): StoredBlob;
}
