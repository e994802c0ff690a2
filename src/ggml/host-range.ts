import { assert } from "../util/index.js";
import { memoryAt, type Pointer } from "./signatures.js";

/**
 * Bytes of a tensor that lie in the host's memory, as plain data: it can be posted to another thread of this process, and opened there.
 * Good until the tensor's arena is disposed, and whoever posts it must see to that.
 */
export interface HostRange {
  readonly address: Pointer;
  readonly byteLength: number;
}

/** The bytes themselves, to be read and written. */
export function openHostRange({ address, byteLength }: HostRange): Uint8Array {
  return memoryAt(address, byteLength);
}

/** Some of its bytes. */
export function partOfRange(range: HostRange, offset: number, byteLength: number): HostRange {
  const { address, byteLength: most } = range;
  assert(offset >= 0 && offset + byteLength <= most, `${byteLength} bytes at ${offset} are not in ${most}`);
  return { address: address + BigInt(offset), byteLength };
}
