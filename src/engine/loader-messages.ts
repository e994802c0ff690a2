import type { ErrorData } from "../core/index.js";
import type { FileStamp, StoredBlob } from "../formats/index.js";
import type { HostRange } from "../ggml/index.js";
import type { PieceContent } from "./piece-content.js";

/** What a loader's thread begins with. */
export interface LoaderThreadData {
  /** The `Gate` through which it passes to write into pools. */
  readonly gate: SharedArrayBuffer;
  /** The library of kernels; null where there is none. */
  readonly kernelsFile: string | null;
}

/** A load, as its thread gets it. */
export interface LoadJob {
  readonly id: number;
  /** As it was when the variant was registered. */
  readonly file: FileStamp;
  readonly pieces: readonly PostedPiece[];
}

/** A piece of a load, and where it goes; null where only the engine can write there. */
export interface PostedPiece {
  readonly content: PieceContent<StoredBlob>;
  readonly range: HostRange | null;
  readonly byteLength: number;
}

export type ToLoaderThread =
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
