import { Worker } from "node:worker_threads";
import { errorFromData, KindredError } from "../core/index.js";
import type { Device } from "../ggml/index.js";
import type { DecoderState } from "../model/index.js";
import type { Placement } from "../storage/index.js";
import { Gate } from "../util/index.js";
import { type LoadPiece, offsetOf, planLoad } from "./load-plan.js";
import type { FromLoaderThread, LoaderThreadData, PostedPiece, ToLoaderThread } from "./loader-messages.js";
import type {} from "./loader-thread.js"; // so that compilers find the thread's file
import { blobsOf } from "./piece-content.js";
import type { RegisteredVariant } from "./variants.js";

/** What loads of variants of one form have in common. */
interface LoadForm {
  readonly id: number;
  readonly pieces: readonly LoadPiece[];
  /** Names of these, each once, as a job has them. */
  readonly blobs: readonly string[];
}

interface Load {
  readonly form: LoadForm;
  readonly placement: Placement;
  readonly resolve: (bytes: number) => void;
  readonly reject: (error: KindredError) => void;
}

interface LoaderThread {
  readonly worker: Worker;
  readonly gate: Gate;
  /** Those that it has been told of. */
  readonly forms: Set<LoadForm>;
}

/**
 * Brings variants into slots while this thread computes: another thread reads, verifies, decodes, and writes into the pools itself where
 * they are host memory. What only this thread can write it is handed in pieces, between steps. Loads are done one after the other, in
 * the order in which they were asked for.
 *
 * Made after the pools it writes to, and disposed before them, as the device does it: once that is done nothing is written any more, and
 * loads that were under way never end.
 */
export class Loader implements Disposable {
  readonly #adoption: { release(): void };
  readonly #kernelsFile: string | null;
  readonly #state: DecoderState;
  /** By what variants of one form share. */
  readonly #forms = new Map<RegisteredVariant["contents"]["tensors"], LoadForm>();
  readonly #loads = new Map<number, Load>();
  #thread: LoaderThread | undefined;
  #loadsBegun = 0;

  constructor(device: Device, state: DecoderState) {
    this.#state = state;
    this.#adoption = device.adopt(this);
    this.#kernelsFile = device.kernels?.file ?? null;
    this.#thread = this.#start();
  }

  /**
   * Reads a variant, every blob verified on the way.
   *
   * @returns bytes of its blobs
   * @throws {KindredError} with the code and the sentence of what kept it from being read; the slots' contents are undefined then
   */
  async load(variant: Pick<RegisteredVariant, "name" | "contents" | "classes">, placement: Placement): Promise<number> {
    const id = this.#loadsBegun;
    this.#loadsBegun += 1;
    const { contents } = variant;
    const form = this.#formOf(variant);
    this.#thread ??= this.#start();
    const { worker, forms } = this.#thread;
    worker.ref();
    if (!forms.has(form)) post(worker, { type: "form", form: { id: form.id, pieces: this.#posted(form) } });
    forms.add(form);
    const { index, slots } = placement;
    const blobs = form.blobs.map((blob) => contents.locate(blob));
    post(worker, { type: "load", job: { id, form: form.id, file: contents.file, placement: { index, slots }, blobs } });
    return new Promise((resolve, reject) => this.#loads.set(id, { form, placement, resolve, reject }));
  }

  [Symbol.dispose](): void {
    this.#adoption.release();
    this.#loads.clear();
    this.#thread?.gate.close();
    void this.#thread?.worker.terminate();
    this.#thread = undefined;
  }

  /** Planned with the first load of a variant of this form: that takes longer than the rest of what a load takes from this thread. */
  #formOf(variant: Pick<RegisteredVariant, "name" | "contents" | "classes">): LoadForm {
    const { tensors } = variant.contents;
    const known = this.#forms.get(tensors);
    if (known) return known;
    const pieces = planLoad(variant, this.#state);
    const form = { id: this.#forms.size, pieces, blobs: blobsOf(pieces).map(({ blob }) => blob) };
    this.#forms.set(tensors, form);
    return form;
  }

  #posted({ pieces }: LoadForm): readonly PostedPiece[] {
    const isHost = this.#state.pools?.isHost;
    return pieces.map(({ pool, ...piece }) => ({ ...piece, pool: isHost ? pool.hostRange(0, pool.byteLength) : null }));
  }

  #start(): LoaderThread {
    const gate = new Gate();
    const workerData: LoaderThreadData = { gate: gate.shared, kernelsFile: this.#kernelsFile };
    const worker = new Worker(new URL("./loader-thread.js", import.meta.url), { workerData });
    worker.unref(); // while it loads nothing it keeps nobody waiting
    let reason: unknown = "it was ended";
    worker.on("message", (message: FromLoaderThread) => this.#hear(worker, message));
    worker.on("error", (error) => {
      reason = error;
    });
    worker.on("exit", () => this.#lose(worker, reason));
    return { worker, gate, forms: new Set() };
  }

  #hear(worker: Worker, message: FromLoaderThread): void {
    const load = this.#loads.get(message.id);
    if (!load) return; // disposed meanwhile
    if (message.type === "write") {
      const piece = load.form.pieces[message.piece]!;
      piece.pool.write(message.bytes, offsetOf(piece, load.placement) + message.offset);
      post(worker, { type: "written" });
      return;
    }
    this.#loads.delete(message.id);
    if (this.#loads.size === 0) worker.unref();
    if (message.type === "loaded") load.resolve(message.bytes);
    else load.reject(errorFromData(message.error));
  }

  /** What a thread that ended had to load fails; the next load starts another. */
  #lose(worker: Worker, reason: unknown): void {
    if (this.#thread?.worker !== worker) return; // disposed
    this.#thread = undefined;
    const text = `The thread that loads variants ended: ${reason instanceof Error ? reason.message : reason}`;
    for (const { reject } of this.#loads.values()) reject(new KindredError("loader_failed", 500, text));
    this.#loads.clear();
  }
}

function post(worker: Worker, message: ToLoaderThread): void {
  worker.postMessage(message);
}
