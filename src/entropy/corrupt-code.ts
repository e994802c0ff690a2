import { KindredError } from "../core/index.js";

/** Coded bytes that no encoder wrote: truncated, or changed since. */
export class CorruptCode extends KindredError {
  constructor(problem: string) {
    super("corrupt_code", 422, `Cannot decode: ${problem}`);
  }
}
