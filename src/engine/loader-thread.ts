// The thread of a `Loader`: loads, one after the other, what it is told to.

import { parentPort, workerData } from "node:worker_threads";
import { errorToData, NativeError } from "../core/index.js";
import { bindArrangePlanes, type HostRange, openHostRange, partOfRange } from "../ggml/index.js";
import { assert, Gate } from "../util/index.js";
import { loadBuffers, runLoad, type WritePiece } from "./load-job.js";
import { offsetOf } from "./load-plan.js";
import type { FromLoaderThread, LoaderThreadData, LoadJob, PostedForm, ToLoaderThread } from "./loader-messages.js";
import { planeDecoding } from "./plane-decoding.js";

/** What the engine is handed at a time: as much of it as it has reads under way may come between two steps. */
const handedBytesMax = 1 << 20;
/** Places that are kept open, each in a few hundred bytes. */
const openedMax = 4096;

assert(parentPort, "a loader's thread is started by a loader");
const engine = parentPort;
const data = workerData as LoaderThreadData;
const gate = new Gate(data.gate);
const decodePlane = planeDecoding(data.kernelsFile);
const arrange = data.kernelsFile === null ? undefined : bindArrangePlanes(data.kernelsFile);
/** For each message of bytes that the engine has not written yet, in order. */
const unwritten: (() => void)[] = [];
const buffers = loadBuffers();
const forms = new Map<number, PostedForm>();
/** Places of pools, by their address. V8 counts what it cannot see as its own: opened for each load, they would have it collect garbage in each. */
const opened = new Map<HostRange["address"], Uint8Array>();
let lastLoad = Promise.resolve();

engine.on("message", (message: ToLoaderThread) => {
  if (message.type === "written") unwritten.shift()!();
  else if (message.type === "form") forms.set(message.form.id, message.form);
  else lastLoad = lastLoad.then(() => load(message.job));
});

async function load(job: LoadJob): Promise<void> {
  try {
    const { pieces } = forms.get(job.form)!;
    const write: WritePiece = (index, fill) => {
      const { pool, byteLength, ...place } = pieces[index]!;
      if (!pool) return handOver(job.id, index, byteLength, fill);
      return writeHere(partOfRange(pool, offsetOf({ ...place, byteLength }, job.placement), byteLength), fill);
    };
    const bytes = await runLoad({ ...job, pieces }, { write, decodePlane, arrange, buffers });
    post({ type: "loaded", id: job.id, bytes });
  } catch (error) {
    post({ type: "failed", id: job.id, error: errorToData(error) });
  }
}

/** Fills memory of the pools, which is there as long as the gate is open. */
async function writeHere(range: HostRange, fill: (into: Uint8Array) => void): Promise<void> {
  if (!gate.pass(() => fill(bytesAt(range)))) throw new NativeError("The pools were disposed during a load");
}

function bytesAt(range: HostRange): Uint8Array {
  const known = opened.get(range.address);
  if (known?.length === range.byteLength) return known;
  if (opened.size === openedMax) opened.clear();
  const bytes = openHostRange(range);
  opened.set(range.address, bytes);
  return bytes;
}

async function handOver(
  id: number,
  piece: number,
  byteLength: number,
  fill: (into: Uint8Array) => void,
): Promise<void> {
  const whole = new Uint8Array(byteLength);
  fill(whole);
  for (let offset = 0; offset < byteLength; offset += handedBytesMax) {
    const bytes = whole.slice(offset, offset + handedBytesMax);
    post({ type: "write", id, piece, offset, bytes }, [bytes.buffer]);
    await new Promise<void>((resolve) => unwritten.push(resolve));
  }
}

function post(message: FromLoaderThread, transferred: readonly ArrayBuffer[] = []): void {
  engine.postMessage(message, transferred);
}
