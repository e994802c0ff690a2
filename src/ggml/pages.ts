import koffi from "koffi";
import { alignUp, assert } from "../util/index.js";
import { type Pointer, voidPointer } from "./signatures.js";

/** PROT_READ | PROT_WRITE */
const readWrite = 1 | 2;
const mapPrivate = 2;
const mapFixed = 0x10;
/** MADV_DONTNEED and MADV_NOHUGEPAGE of Linux */
const [dontNeed, noHugePage] = [4, 15];

/** What differs between the systems where memory is had in pages. */
interface PagedSystem {
  /** MAP_ANONYMOUS | MAP_NORESERVE */
  readonly mapFresh: number;
  /** _SC_PAGESIZE */
  readonly pageSizeName: number;
}

const systems: Partial<Record<NodeJS.Platform, PagedSystem>> = {
  linux: { mapFresh: 0x20 | 0x4000, pageSizeName: 30 },
  darwin: { mapFresh: 0x1000 | 0x40, pageSizeName: 29 },
};

interface MemoryFunctions extends PagedSystem {
  readonly pageBytes: number;
  map(address: Pointer | null, bytes: number, protection: number, flags: number, file: number, at: number): Pointer;
  unmap(address: Pointer, bytes: number): number;
  advise(address: Pointer, bytes: number, advice: number): number;
}

let opened: MemoryFunctions | null | undefined;

/** The C library's functions, or null on a system whose memory is not had this way. */
function memoryFunctions(): MemoryFunctions | null {
  if (opened !== undefined) return opened;
  const system = systems[process.platform];
  if (!system) {
    opened = null;
    return opened;
  }
  const lib = koffi.load(null);
  const size = lib.func("sysconf", "long", ["int"]) as (name: number) => number;
  opened = {
    ...system,
    pageBytes: Number(size(system.pageSizeName)),
    map: lib.func("mmap", voidPointer, [voidPointer, "size_t", "int", "int", "int", "int64_t"]),
    unmap: lib.func("munmap", "int", [voidPointer, "size_t"]),
    advise: lib.func("madvise", "int", [voidPointer, "size_t", "int"]),
  };
  return opened;
}

/** Bytes of a page of this machine, the least that memory is had in; 1 on a system where it is not had in pages. */
export function pageBytes(): number {
  return memoryFunctions()?.pageBytes ?? 1;
}

/**
 * Addresses whose memory is had page by page: one that nobody has written to takes none and reads as zeros, and one that is discarded
 * is like that again.
 */
export class Pages implements Disposable {
  readonly address: Pointer;
  readonly byteLength: number;
  readonly #functions: MemoryFunctions;

  private constructor(functions: MemoryFunctions, address: Pointer, byteLength: number) {
    this.#functions = functions;
    this.address = address;
    this.byteLength = byteLength;
  }

  /** So many bytes, in whole pages; undefined where the system has no such memory or not that many addresses. */
  static map(bytes: number): Pages | undefined {
    const functions = memoryFunctions();
    if (!functions) return undefined;
    const { map, mapFresh } = functions;
    const byteLength = alignUp(bytes, functions.pageBytes);
    const address = BigInt.asIntN(64, BigInt(map(null, byteLength, readWrite, mapPrivate | mapFresh, -1, 0) ?? 0n));
    if (address === -1n || address === 0n) return undefined;
    const pages = new Pages(functions, address, byteLength);
    // A huge page would take the memory of hundreds of pages at the first byte that is written.
    if (process.platform === "linux") functions.advise(address, byteLength, noHugePage);
    return pages;
  }

  /** Gives back the memory of the pages that lie wholly between these offsets. */
  discard(from: number, to: number): void {
    const { pageBytes: page, advise, map, mapFresh } = this.#functions;
    assert(from >= 0 && to <= this.byteLength, `cannot discard bytes ${from}…${to} of ${this.byteLength}`);
    const start = alignUp(from, page);
    const bytes = Math.floor(to / page) * page - start;
    if (bytes <= 0) return;
    const address = this.address + BigInt(start);
    if (process.platform === "linux") advise(address, bytes, dontNeed);
    // Elsewhere advice is only that; fresh pages in the place of these are zeros at once.
    else map(address, bytes, readWrite, mapPrivate | mapFresh | mapFixed, -1, 0);
  }

  [Symbol.dispose](): void {
    this.#functions.unmap(this.address, this.byteLength);
  }
}
