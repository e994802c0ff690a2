import { InvalidRequest } from "../core/index.js";
import type { CodecOptions } from "../formats/index.js";
import { bitdelta } from "./bitdelta.js";
import type { CodecFamily, DeltaCodec } from "./codec.js";
import { deltazip } from "./deltazip.js";
import { exact } from "./exact-codec.js";
import { sign } from "./sign.js";
import { signLowRank } from "./sign-low-rank.js";
import { svd } from "./svd.js";
import { ternary } from "./ternary.js";

/** Every codec family by name. A new codec is a new file and a line here. */
export const codecs: ReadonlyMap<string, CodecFamily> = new Map(
  [sign, ternary, signLowRank, svd, bitdelta, deltazip, exact].map((family) => [family.name, family]),
);

/** @throws {InvalidRequest} if there is no such codec, or it refuses the options */
export function createCodec(name: string, options: CodecOptions = {}): DeltaCodec {
  const family = codecs.get(name);
  if (!family)
    throw new InvalidRequest("codec", `There is no codec "${name}"; known are ${[...codecs.keys()].join(", ")}`);
  return family.create(options);
}
