import { readdir, realpath } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { KindredError } from "../core/index.js";
import { type Checkpoint, openCheckpoint } from "../formats/index.js";
import { readValues } from "../model/index.js";
import { CannotCompress, type CheckpointPair, structuralDifference } from "./compatibility.js";

/**
 * How far apart the weights of a base and a fine-tune may be, as {@link weightDistance} says. Weights that have nothing in common are
 * √2 apart, whatever their sizes; a fine-tune that moved a third of its norm is 0.33 from its base.
 */
export const DISTANCE_MAX = 1.2;

/** Checkpoints that are looked at in the search for the right base. */
const CANDIDATES_MAX = 64;

/** A fine-tune whose weights have nothing in common with those of the base that it was given with. */
export class WrongBase extends KindredError {
  constructor({ base, tuned }: CheckpointPair, distance: number, nearest: NearestBase | undefined) {
    super(
      "wrong_base",
      422,
      `Cannot compress ${tuned.path} against ${base.path}: it is no fine-tune of it. Their weights are ${distance.toFixed(2)} apart; ` +
        `√2 is what unrelated weights are, and fine-tunes are below ${DISTANCE_MAX}${describeNearest(nearest)}; --force compresses it all the same`,
      {
        details: {
          tuned: tuned.path,
          base: base.path,
          distance,
          nearest: nearest?.path ?? null,
          nearestDistance: nearest?.distance ?? null,
        },
      },
    );
  }
}

/** A checkpoint that a fine-tune may have been made from. */
export interface NearestBase {
  readonly name: string;
  readonly path: string;
  /** See {@link weightDistance}. */
  readonly distance: number;
}

/**
 * Makes sure that `tuned` is a fine-tune of `base`, by their shapes and by the weights of three matrices. Where it is not, the
 * checkpoints beside the base are looked at, so that the error can name the one that it is a fine-tune of.
 *
 * @param force skips the weights
 * @throws {CannotCompress} if a parameter of one has none of the other to differ from
 * @throws {WrongBase} if their weights have nothing in common
 */
export async function checkKinship(pair: CheckpointPair, force: boolean): Promise<void> {
  const { base, tuned } = pair;
  const different = structuralDifference(base.config, tuned.config);
  if (different !== undefined) {
    const nearest = describeNearest(await findNearestBase(pair));
    throw new CannotCompress(tuned, base, `${different}; a fine-tune has the shape of its base${nearest}`);
  }
  if (force) return;
  const distance = await weightDistance(base, tuned);
  // A NaN is no reason here: whoever encodes it names its tensor.
  if (distance > DISTANCE_MAX) throw new WrongBase(pair, distance, await findNearestBase(pair));
}

/**
 * How far the weights of two checkpoints of one shape are apart: the root of the mean of ‖T − B‖² / ½(‖T‖² + ‖B‖²) over
 * the value projections of the first, middle and last layer. 0 for equal ones, √2 for unrelated ones.
 */
export async function weightDistance(base: Checkpoint, tuned: Checkpoint): Promise<number> {
  const { layers } = tuned.config;
  const looked = [...new Set([0, Math.floor(layers / 2), layers - 1])];
  let sum = 0;
  for (const layer of looked) {
    const name = `model.layers.${layer}.self_attn.v_proj.weight`;
    const [before, after] = [await readValues(base, name), await readValues(tuned, name)];
    let difference = 0;
    let size = 0;
    for (let i = 0; i < after.length; i++) {
      difference += (after[i]! - before[i]!) ** 2;
      size += (after[i]! ** 2 + before[i]! ** 2) / 2;
    }
    sum += size === 0 ? 0 : difference / size;
  }
  return Math.sqrt(sum / looked.length);
}

/** The checkpoint beside the given base that a fine-tune is nearest to; undefined where none is near. */
async function findNearestBase({ base, tuned }: CheckpointPair): Promise<NearestBase | undefined> {
  const folder = dirname(resolve(base.path));
  const real = (path: string) => realpath(path).catch(() => path);
  const known = [await real(base.path), await real(tuned.path)];
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const names = entries.filter((entry) => !entry.isFile() || entry.name.endsWith(".gguf")).map(({ name }) => name);
  let nearest: NearestBase | undefined;
  for (const name of names.sort().slice(0, CANDIDATES_MAX)) {
    const path = join(folder, name);
    if (known.includes(await real(path))) continue;
    const distance = await distanceTo(path, tuned);
    if (distance !== undefined && distance <= (nearest?.distance ?? DISTANCE_MAX)) {
      nearest = { name: basename(path, ".gguf"), path, distance };
    }
  }
  return nearest;
}

/** Undefined where there is no checkpoint that can be read, or one of another shape. */
async function distanceTo(path: string, tuned: Checkpoint): Promise<number | undefined> {
  try {
    await using candidate = await openCheckpoint(path);
    if (structuralDifference(candidate.config, tuned.config) !== undefined) return undefined;
    return await weightDistance(candidate, tuned);
  } catch {
    return undefined; // a search that only helps an error on its way must not end in another
  }
}

function describeNearest(nearest: NearestBase | undefined): string {
  return nearest
    ? `. Beside that base lies ${nearest.name}, from which it is ${nearest.distance.toFixed(2)} apart`
    : "";
}
