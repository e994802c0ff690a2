import { type FileHandle, open } from "node:fs/promises";
import { assert } from "../util/index.js";

/**
 * A file that keeps blobs, in the order in which they become ready, until they are wanted in another. Memory holds none
 * of them. Disposing closes the file; it is left to whoever made its folder.
 */
export class BlobSpool implements AsyncDisposable {
  readonly #handle: FileHandle;
  readonly #places = new Map<string, { offset: number; byteLength: number }>();
  #end = 0;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  static async create(path: string): Promise<BlobSpool> {
    return new BlobSpool(await open(path, "wx+"));
  }

  /** Keeps `bytes` under `name`. Calls may overlap. */
  async put(name: string, bytes: Uint8Array): Promise<void> {
    assert(!this.#places.has(name), `Blob ${name} is in the spool already`);
    const offset = this.#end;
    this.#end += bytes.length;
    this.#places.set(name, { offset, byteLength: bytes.length });
    for (let written = 0; written < bytes.length; ) {
      written += (await this.#handle.write(bytes, written, bytes.length - written, offset + written)).bytesWritten;
    }
  }

  /** The bytes that were put under `name`. */
  async get(name: string): Promise<Uint8Array> {
    const place = this.#places.get(name);
    assert(place, `Blob ${name} is not in the spool`);
    const bytes = new Uint8Array(place.byteLength);
    for (let filled = 0; filled < bytes.length; ) {
      const { bytesRead } = await this.#handle.read(bytes, filled, bytes.length - filled, place.offset + filled);
      assert(bytesRead > 0, `The spool ends inside blob ${name}`);
      filled += bytesRead;
    }
    return bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}
