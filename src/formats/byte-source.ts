import { read } from "node:fs";
import { type FileHandle, open, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { InvalidFile, KindredError } from "../core/index.js";
import { formatBytes, sha256 } from "../util/index.js";

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

/** By what one knows whether a file is still what it was. Plain data, so that another thread can open it. */
export interface FileStamp {
  readonly path: string;
  readonly size: number;
  /** When it was written last, in milliseconds since 1970. */
  readonly modifiedMs: number;
  /**
   * A file with the checksums of all that is read of this one, and its own; none where left out. While it is what it was, they tell
   * whether this one is.
   */
  readonly checksums?: { readonly path: string; readonly sha256: string };
}

/** A file that was written since it was looked at. */
export class FileChanged extends KindredError {
  constructor(was: FileStamp, is: FileStamp) {
    const told = ({ size, modifiedMs }: FileStamp) =>
      `${formatBytes(size)}, written ${new Date(modifiedMs).toISOString()}`;
    super(
      "file_changed",
      409,
      `Cannot load ${was.path}: it was changed since the server started: it was ${told(was)}, and is ${told(is)}; restart to serve it as it is, or put it back as it was`,
      { details: { path: was.path } },
    );
  }
}

/** A file opened for reading; disposing closes it. Reads may overlap. */
export class FileSource implements ByteSource, AsyncDisposable {
  readonly stamp: FileStamp;
  readonly #handle: FileHandle;

  private constructor(stamp: FileStamp, handle: FileHandle) {
    this.stamp = stamp;
    this.#handle = handle;
  }

  get path(): string {
    return this.stamp.path;
  }

  get size(): number {
    return this.stamp.size;
  }

  /** @throws {InvalidFile} if there is no such file, it is a folder, or it may not be read */
  static async open(path: string): Promise<FileSource> {
    const handle = await open(path, "r").catch((cause: unknown) => {
      throw new InvalidFile(path, openingProblem(cause), { cause });
    });
    try {
      const stats = await handle.stat();
      if (!stats.isFile()) throw new InvalidFile(path, "it is not a regular file");
      return new FileSource({ path, size: stats.size, modifiedMs: stats.mtimeMs }, handle);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /**
   * Opens a file that was looked at before. One that was written since, and still has its size and checksums, may have been written
   * with the same bytes: reading tells.
   *
   * @throws {FileChanged} if it has become another
   * @throws {InvalidFile} as `open` does
   */
  static async reopen(was: FileStamp): Promise<FileSource> {
    const source = await FileSource.open(was.path);
    const { size, modifiedMs } = source.stamp;
    if (size === was.size && (modifiedMs === was.modifiedMs || (await hasItsChecksums(was)))) return source;
    await source[Symbol.asyncDispose]();
    throw new FileChanged(was, source.stamp);
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    if (offset < 0 || offset + into.length > this.size) throw this.#ended(offset, into.length);
    for (let filled = 0; filled < into.length; ) {
      const length = Math.min(into.length - filled, readBytesMax);
      const { bytesRead } = await readAt(this.#handle.fd, into, filled, length, offset + filled).catch(
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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

async function hasItsChecksums({ checksums }: FileStamp): Promise<boolean> {
  if (!checksums) return false;
  const content = await readFile(checksums.path).catch(() => undefined);
  return content !== undefined && sha256(content) === checksums.sha256;
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
