// What a compression has done so far, in a folder beside the artifact that it will become:
//
//   work.json        what is compressed and how; for other work the folder is begun afresh
//   blobs.spool      blobs, in the order in which they became ready
//   journal.jsonl    a line for each finished tensor: { tensor, places }, where its blobs lie in the spool
//
// A line is written once the tensor's blobs are. What a killed run was at has none, and is done again.

import { constants } from "node:fs";
import { type FileHandle, mkdir, open, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { blobsOf, type DeltaTensor } from "../formats/index.js";
import { assert, sha256 } from "../util/index.js";

/** Where a blob lies in the spool. */
interface Place {
  readonly offset: number;
  readonly byteLength: number;
}

interface JournalLine {
  readonly tensor: DeltaTensor;
  readonly places: Readonly<Record<string, Place>>;
}

/** The finished part of a compression, on disk, where a later run finds it. Disposing closes its files and leaves them. */
export class Workspace implements AsyncDisposable {
  readonly #path: string;
  readonly #spool: FileHandle;
  readonly #journal: FileHandle;
  readonly #places = new Map<string, Place>();
  readonly #finished = new Map<string, DeltaTensor>();
  #end = 0;

  private constructor(path: string, spool: FileHandle, journal: FileHandle) {
    this.#path = path;
    this.#spool = spool;
    this.#journal = journal;
  }

  /**
   * Opens the folder, or makes it.
   *
   * @param work what is compressed and how; the same text finds what was done before
   */
  static async open(path: string, work: string): Promise<Workspace> {
    const known = await readFile(join(path, "work.json"), "utf8").catch(() => undefined);
    if (known !== work) {
      await rm(path, { recursive: true, force: true });
      await mkdir(path, { recursive: true });
      await writeFile(join(path, "work.json"), work);
    }
    const lines = await readFile(join(path, "journal.jsonl"), "utf8").catch(() => "");
    const spool = await open(join(path, "blobs.spool"), constants.O_RDWR | constants.O_CREAT);
    const workspace = new Workspace(path, spool, await open(join(path, "journal.jsonl"), "w"));
    for (const line of lines.split("\n")) if (!(await workspace.#replay(line))) break;
    return workspace;
  }

  /** Tensors that are done, by name. */
  get finished(): ReadonlyMap<string, DeltaTensor> {
    return this.#finished;
  }

  /** Keeps `bytes` under `name` until the artifact is written. Calls may overlap. */
  async put(name: string, bytes: Uint8Array): Promise<void> {
    const place = { offset: this.#end, byteLength: bytes.length };
    this.#end += bytes.length;
    this.#places.set(name, place);
    for (let written = 0; written < bytes.length; ) {
      const left = bytes.length - written;
      written += (await this.#spool.write(bytes, written, left, place.offset + written)).bytesWritten;
    }
  }

  /** The bytes that were put under `name`. */
  async get(name: string): Promise<Uint8Array> {
    const place = this.#places.get(name);
    assert(place, `Blob ${name} is not in the workspace`);
    const bytes = await this.#read(place);
    assert(bytes, `The spool ends inside blob ${name}`);
    return bytes;
  }

  /** Remembers a tensor as done; its blobs have been put. */
  async finish(tensor: DeltaTensor): Promise<void> {
    const places = Object.fromEntries(blobsOf(tensor).map(({ name }) => [name, this.#places.get(name)!]));
    this.#finished.set(tensor.name, tensor);
    await this.#journal.appendFile(`${JSON.stringify({ tensor, places } satisfies JournalLine)}\n`);
  }

  /** Removes the folder. */
  async remove(): Promise<void> {
    await rm(this.#path, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#spool.close();
    await this.#journal.close();
  }

  /** Takes over a line of an earlier run; false where it is torn or its blobs are not what it says. */
  async #replay(line: string): Promise<boolean> {
    let parsed: JournalLine;
    try {
      parsed = JSON.parse(line);
    } catch {
      return false;
    }
    for (const blob of blobsOf(parsed.tensor)) {
      const place = parsed.places[blob.name];
      const bytes = place && (await this.#read(place));
      if (!bytes || sha256(bytes) !== blob.sha256) return false;
      this.#places.set(blob.name, place);
      this.#end = Math.max(this.#end, place.offset + place.byteLength);
    }
    await this.finish(parsed.tensor);
    return true;
  }

  /** Undefined where the spool ends before. */
  async #read({ offset, byteLength }: Place): Promise<Uint8Array | undefined> {
    const bytes = new Uint8Array(byteLength);
    for (let filled = 0; filled < byteLength; ) {
      const { bytesRead } = await this.#spool.read(bytes, filled, byteLength - filled, offset + filled);
      if (bytesRead === 0) return undefined;
      filled += bytesRead;
    }
    return bytes;
  }
}
