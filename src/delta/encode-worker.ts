// The thread behind Encoder: does one task after the other and answers each.

import { parentPort } from "node:worker_threads";
import { type ErrorData, errorToData } from "../core/index.js";
import { assert } from "../util/index.js";
import type { DeltaCodec } from "./codec.js";
import { createCodec } from "./codecs.js";
import { type EncodedDifference, encodeDifference, type MatrixPair } from "./difference.js";
import type { PlaneCount } from "./sign-levels.js";
import { type RowCosts, type Trials, tryPlanes } from "./trial.js";

/** What makes a codec again on the other side. */
export type CodecSettings = Pick<DeltaCodec, "name" | "options">;

/** Something to be done with a pair. */
export type EncoderTask =
  | { readonly kind: "encode"; readonly pair: MatrixPair; readonly codec: CodecSettings }
  | {
      readonly kind: "try";
      readonly pair: MatrixPair;
      readonly planes: readonly PlaneCount[];
      readonly costs: readonly RowCosts[];
    };

/** What the thread says once, when it has loaded. */
export interface EncoderReady {
  readonly ready: true;
}

/** The answer to one task. */
export type EncoderAnswer =
  | { readonly encoded: EncodedDifference }
  | { readonly tried: Trials }
  | { readonly error: ErrorData };

const port = parentPort;
assert(port, "encode-worker.js runs as a worker thread");

port.on("message", (task: EncoderTask) => {
  try {
    const answer = answerTo(task);
    port.postMessage(answer, "encoded" in answer ? buffersOf(answer.encoded) : []);
  } catch (error) {
    port.postMessage({ error: errorToData(error) } satisfies EncoderAnswer);
  }
});

port.postMessage({ ready: true } satisfies EncoderReady);

function answerTo(task: EncoderTask): Exclude<EncoderAnswer, { error: ErrorData }> {
  if (task.kind === "encode") {
    const { name, options } = task.codec;
    return { encoded: encodeDifference(createCodec(name, options), task.pair) };
  }
  return { tried: tryPlanes(task.pair, task.planes, task.costs) };
}

function buffersOf({ planes, factors }: EncodedDifference): ArrayBuffer[] {
  const blobs = [...planes.map(({ bytes }) => bytes), ...factors.flatMap(({ down, up }) => [down, up])];
  return blobs.map(({ buffer }) => buffer as ArrayBuffer);
}
