import type { ErrorData } from "../core/index.js";
import type { FileStamp, StoredBlob } from "../formats/index.js";
import type { HostRange } from "../ggml/index.js";
import type { Placement } from "../storage/index.js";
import type { PiecePlace } from "./load-plan.js";
import type { PieceContent } from "./piece-content.js";

/** What a loader's thread begins with. */
export interface LoaderThreadData {
  /** The `Gate` through which it passes to write into pools. */
  readonly gate: SharedArrayBuffer;
  /** The library of kernels; null where there is none. */
  readonly kernelsFile: string | null;
}

/** What loads of variants of one form have in common, as their thread keeps it. */
export interface PostedForm {
  readonly id: number;
  readonly pieces: readonly PostedPiece[];
}

/** A piece of such loads, and the pool it goes to; null where only the engine can write there. */
export interface PostedPiece extends PiecePlace {
  readonly content: PieceContent<string>;
  readonly pool: HostRange | null;
}

/** A load, as its thread gets it. */
export interface LoadJob {
  readonly id: number;
  readonly form: number;
  /** As it was when the variant was registered. */
  readonly file: FileStamp;
  readonly placement: Placement;
  /** As `blobsOf` lists them. */
  readonly blobs: readonly StoredBlob[];
}

export type ToLoaderThread =
  | { readonly type: "form"; readonly form: PostedForm }
  | { readonly type: "load"; readonly job: LoadJob }
  /** The engine has written what it was handed. */
  | { readonly type: "written" };

export type FromLoaderThread =
  /** Bytes of a piece from `offset` on, for the engine to write. */
  | {
      readonly type: "write";
      readonly id: number;
      readonly piece: number;
      readonly offset: number;
      readonly bytes: Uint8Array;
    }
  | { readonly type: "loaded"; readonly id: number; readonly bytes: number }
  | { readonly type: "failed"; readonly id: number; readonly error: ErrorData };
