// The thread behind ExactThread: takes requests one after the other and answers each.

import { parentPort } from "node:worker_threads";
import { type ErrorData, errorToData } from "../core/index.js";
import { assert, sha256 } from "../util/index.js";
import { decodeExact } from "./exact-decoder.js";
import { encodeExact } from "./exact-encoder.js";
import { type ReferenceParts, referenceOf } from "./exact-reference.js";
import { bytesOf, floatBits } from "./float-bits.js";

/** Asks for what turns a reference into `tuned`, which has the same rows. */
export interface EncodeRequest {
  readonly kind: "encode";
  readonly reference: ReferenceParts;
  readonly tuned: Uint8Array;
}

/** Asks for the tensor that `code` turns a reference into, and the checksum of it with the extra rows after it. */
export interface DecodeRequest {
  readonly kind: "decode";
  readonly reference: ReferenceParts;
  /** Null where the reference is the tensor. */
  readonly code: Uint8Array | null;
  readonly extraRows: Uint8Array;
}

/** The answer to an {@link EncodeRequest}: null where the reference is the tensor. */
export interface EncodeAnswer {
  readonly code: Uint8Array | null;
}

/** The answer to a {@link DecodeRequest}. */
export interface DecodeAnswer {
  readonly tensor: Uint8Array;
  readonly sha256: string;
}

export type ExactAnswer = EncodeAnswer | DecodeAnswer | { readonly error: ErrorData };

const port = parentPort;
assert(port, "exact-worker.js runs as a worker thread");

port.on("message", (request: EncodeRequest | DecodeRequest) => {
  try {
    const answer = request.kind === "encode" ? encode(request) : decode(request);
    const bytes = "code" in answer ? answer.code : answer.tensor;
    port.postMessage(answer satisfies ExactAnswer, bytes ? [bytes.buffer as ArrayBuffer] : []);
  } catch (error) {
    port.postMessage({ error: errorToData(error) } satisfies ExactAnswer);
  }
});

function encode({ reference, tuned }: EncodeRequest): EncodeAnswer {
  const { dtype, shape } = reference;
  const { elements, hints } = referenceOf(reference);
  const pair = { dtype, reference: elements, tuned: floatBits(dtype, tuned), cols: shape.cols, hints };
  return { code: encodeExact(pair) };
}

function decode({ reference, code, extraRows }: DecodeRequest): DecodeAnswer {
  const { elements, hints } = referenceOf(reference);
  if (code) decodeExact(reference.dtype, elements, hints, code);
  const covered = bytesOf(elements);
  if (extraRows.length === 0) return { tensor: covered, sha256: sha256(covered) };
  const tensor = new Uint8Array(covered.length + extraRows.length);
  tensor.set(covered);
  tensor.set(extraRows, covered.length);
  return { tensor, sha256: sha256(tensor) };
}
