import { assert } from "../util/index.js";
import { bindDecodePlane } from "./signatures.js";

/** Of a plane, and of the blocks that its rows are made of. */
export interface PlaneGeometry {
  readonly rows: number;
  readonly cols: number;
  /** Columns of a block. */
  readonly blockSize: number;
  readonly blockBytes: number;
  /** Where in a block its scale lies. */
  readonly scaleOffset: number;
}

/** Fills a plane from its code; false, with anything in it, where it cannot. */
export type PlaneDecoder = (geometry: PlaneGeometry, code: Uint8Array, into: Uint8Array) => boolean;

/** Opens the decoder in a library of kernels, in whatever thread. It runs on every processor. */
export function openPlaneDecoder(file: string): PlaneDecoder {
  const decode = bindDecodePlane(file);
  return ({ rows, cols, blockSize, blockBytes, scaleOffset }, code, into) => {
    const planeBytes = rows * Math.ceil(cols / blockSize) * blockBytes;
    assert(into.length === planeBytes, `A plane of ${into.length} bytes is not one of ${planeBytes}`);
    return decode(code, code.length, into, rows, cols, blockSize, blockBytes, scaleOffset) !== 0;
  };
}
