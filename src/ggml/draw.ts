import { dtypes } from "../core/index.js";
import { alignUp } from "../util/index.js";
import { allThreads } from "./activations.js";
import { type Graph, GraphError } from "./graph.js";
import type { Kernels } from "./kernels.js";
import { pointers, type Tensor } from "./tensor.js";

/** How a token is drawn from a row of logits where nothing but the temperature counts. */
export interface Draw {
  /** Logits that count, from the first on. */
  readonly words: number;
  /** 0 takes the likeliest. */
  readonly temperature: number;
  /** Where in the sum of all weights, [0, 1). */
  readonly u: number;
}

/** `struct draw` of native/logits.h. */
const drawBytes = 24;
const drawInts = drawBytes / 4;

/** Draws for {@link drawRows} as it takes them, `[6, rows]` i32; rows without one are not drawn. */
export function packDraws(draws: readonly (Draw | undefined)[]): Int32Array {
  const packed = new DataView(new ArrayBuffer(drawBytes * draws.length));
  draws.forEach((draw, row) => {
    packed.setBigInt64(row * drawBytes, BigInt(draw?.words ?? 0), isLittleEndian);
    packed.setFloat64(row * drawBytes + 8, draw?.temperature ?? 0, isLittleEndian);
    packed.setFloat64(row * drawBytes + 16, draw?.u ?? 0, isLittleEndian);
  });
  return new Int32Array(packed.buffer);
}

const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/**
 * A token for each row, drawn by all threads while the logits are near; by kernels alone.
 *
 * @param logits `[vocabulary, rows]` f32
 * @param draws as {@link packDraws} makes them, `[6, rows]` i32
 * @param threads of the device
 * @returns i32, of which the first `rows` are the tokens; the rest is the threads' own
 */
export function drawRows(
  g: Graph,
  { draw }: Kernels,
  { logits, draws, threads }: { logits: Tensor; draws: Tensor; threads: number },
): Tensor {
  const [vocabulary, rows] = logits.extents;
  if (logits.dtype !== "f32" || !logits.isContiguous || draws.dtype !== "i32" || draws.elements !== drawInts * rows) {
    throw new GraphError("drawRows", `a row of f32 and ${drawInts} i32 for each draw are wanted`, [logits, draws]);
  }
  const ints = alignUp(4 * rows, 64) / 4 + 2 * vocabulary * threads;
  return g.operation("drawRows", [logits, draws], [ints, 1, 1, 1], (base, c) =>
    base.custom(c, dtypes.i32.id, ints, 1, 1, 1, pointers([logits, draws]), 2, draw, allThreads, 0n),
  );
}
