import { InvalidRequest } from "../core/index.js";
import type { CodecOptions } from "../formats/index.js";

/** Refuses options that a codec family does not have: what is accepted must do something. */
export function refuseUnknownOptions(codec: string, options: CodecOptions, known: readonly string[]): void {
  const stranger = Object.keys(options).find((name) => !known.includes(name));
  if (stranger === undefined) return;
  const offer = known.length > 0 ? `it has ${known.join(", ")}` : "it has none";
  throw new InvalidRequest(stranger, `The codec "${codec}" has no option "${stranger}"; ${offer}`);
}
