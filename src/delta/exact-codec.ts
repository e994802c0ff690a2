import type { CodecOptions } from "../formats/index.js";
import type { CodecFamily, DeltaCodec } from "./codec.js";
import { refuseUnknownOptions } from "./codec-options.js";

/** No planes: the fine-tune comes back bit for bit from an exact layer over the base. To keep, not to serve. */
export const exact: CodecFamily = {
  name: "exact",
  summary: "the fine-tune bit for bit, to be restored and not to be served: about 3 bits a weight of bf16",
  create(options: CodecOptions): DeltaCodec {
    refuseUnknownOptions("exact", options, []);
    return { name: "exact", options: {}, rowByRow: true, withoutPlanes: true, encode: () => ({ planes: [] }) };
  },
};
