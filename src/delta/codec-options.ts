import { InvalidRequest } from "../core/index.js";
import type { CodecOptions } from "../formats/index.js";

/** Refuses options that a codec family does not have: what is accepted must do something. */
export function refuseUnknownOptions(codec: string, options: CodecOptions, known: readonly string[]): void {
  const stranger = Object.keys(options).find((name) => !known.includes(name));
  if (stranger === undefined) return;
  const offer = known.length > 0 ? `it has ${known.join(", ")}` : "it has none";
  throw new InvalidRequest(stranger, `The codec "${codec}" has no option "${stranger}"; ${offer}`);
}

/**
 * An option that is a number, or text that reads as one.
 *
 * @throws {InvalidRequest} unless it lies above `above` and is at most `max`
 */
export function numberOption(
  codec: string,
  name: string,
  value: string | number | boolean,
  { above, max }: { readonly above: number; readonly max: number },
): number {
  const number = typeof value === "boolean" || value === "" ? Number.NaN : Number(value);
  if (number > above && number <= max) return number;
  throw new InvalidRequest(
    name,
    `The codec "${codec}" takes ${name} above ${above} and up to ${max}, not ${JSON.stringify(value)}`,
  );
}
