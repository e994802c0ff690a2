// The thread behind Encoder: takes matrix pairs one after the other and answers each.

import { parentPort, workerData } from "node:worker_threads";
import { type ErrorData, errorToData } from "../core/index.js";
import type { CodecOptions } from "../formats/index.js";
import { assert } from "../util/index.js";
import { createCodec } from "./codecs.js";
import { type EncodedDifference, encodeDifference, type MatrixPair } from "./difference.js";

/** What the thread is started with. */
export interface EncoderSettings {
  readonly name: string;
  readonly options: CodecOptions;
}

/** What the thread says once, when it has loaded. */
export interface EncoderReady {
  readonly ready: true;
}

/** The answer to one pair. */
export type EncoderAnswer = { readonly encoded: EncodedDifference } | { readonly error: ErrorData };

const port = parentPort;
assert(port, "encode-worker.js runs as a worker thread");
const { name, options } = workerData as EncoderSettings;
const codec = createCodec(name, options);

port.on("message", (pair: MatrixPair) => {
  try {
    const encoded = encodeDifference(codec, pair);
    const blobs = [
      ...encoded.planes.map(({ bytes }) => bytes),
      ...encoded.factors.flatMap(({ down, up }) => [down, up]),
    ];
    port.postMessage(
      { encoded } satisfies EncoderAnswer,
      blobs.map(({ buffer }) => buffer as ArrayBuffer),
    );
  } catch (error) {
    port.postMessage({ error: errorToData(error) } satisfies EncoderAnswer);
  }
});

port.postMessage({ ready: true } satisfies EncoderReady);
