import { read } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { promisify } from "node:util";
import { InvalidFile } from "../core/index.js";

/** Bytes that can be read from any offset: what the readers of this folder need of a file. */
export interface ByteSource {
  /** Where the bytes come from, for error messages. */
  readonly path: string;
  /** Length in bytes, taken once when it was opened. */
  readonly size: number;
  /**
   * Fills `into` with the bytes from `offset` on.
   *
   * @throws {InvalidFile} if the source ends before `into` is full or cannot be read
   */
  read(offset: number, into: Uint8Array): Promise<void>;
}

/** One call to the system reads at most this: Linux itself stops short of 2 GiB. */
const readBytesMax = 2 ** 30;

const readAt = promisify(read);

/** A file that is open in this process, as plain data: any of its threads can read it until whoever opened it closes it. */
export interface OpenFile {
  /** For error messages. */
  readonly path: string;
  readonly size: number;
  /** The system's number for it. */
  readonly descriptor: number;
}

/** The bytes of a file that somebody else opened and will close. Reads may overlap. */
export class OpenFileSource implements ByteSource {
  readonly path: string;
  readonly size: number;
  readonly #descriptor: number;

  constructor({ path, size, descriptor }: OpenFile) {
    this.path = path;
    this.size = size;
    this.#descriptor = descriptor;
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    if (offset < 0 || offset + into.length > this.size) throw this.#ended(offset, into.length);
    for (let filled = 0; filled < into.length; ) {
      const length = Math.min(into.length - filled, readBytesMax);
      const { bytesRead } = await readAt(this.#descriptor, into, filled, length, offset + filled).catch(
        (cause: unknown) => {
          throw new InvalidFile(this.path, `reading at byte ${offset + filled} failed`, { cause });
        },
      );
      if (bytesRead === 0) throw this.#ended(offset, into.length);
      filled += bytesRead;
    }
  }

  #ended(offset: number, length: number): InvalidFile {
    return new InvalidFile(
      this.path,
      `it is truncated: bytes ${offset} to ${offset + length} are needed, it has ${this.size}`,
    );
  }
}

/** A file opened for reading; disposing closes it. Reads may overlap. */
export class FileSource extends OpenFileSource implements AsyncDisposable {
  /** For other threads to read, until this is disposed. */
  readonly file: OpenFile;
  readonly #handle: FileHandle;

  private constructor(path: string, size: number, handle: FileHandle) {
    const file = { path, size, descriptor: handle.fd };
    super(file);
    this.file = file;
    this.#handle = handle;
  }

  /** @throws {InvalidFile} if there is no such file, it is a folder, or it may not be read */
  static async open(path: string): Promise<FileSource> {
    const handle = await open(path, "r").catch((cause: unknown) => {
      throw new InvalidFile(path, openingProblem(cause), { cause });
    });
    try {
      const stats = await handle.stat();
      if (!stats.isFile()) throw new InvalidFile(path, "it is not a regular file");
      return new FileSource(path, stats.size, handle);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

function openingProblem(cause: unknown): string {
  switch ((cause as NodeJS.ErrnoException).code) {
    case "ENOENT":
    case "ENOTDIR":
      return "there is no such file";
    case "EACCES":
      return "this user may not read it";
    default:
      return cause instanceof Error ? cause.message : String(cause);
  }
}
