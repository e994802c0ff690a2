import { randomBytes } from "node:crypto";
import { access, mkdir, rename, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { KindredError } from "../core/index.js";

/** The place that was to be written is taken. */
export class AlreadyExists extends KindredError {
  constructor(path: string) {
    super("already_exists", 409, `Cannot write ${path}: it exists already; remove it or name another place`, {
      details: { path },
    });
  }
}

/** @throws {AlreadyExists} if there is something at `path`: better before long work than after it */
export async function checkFree(path: string): Promise<void> {
  if (await exists(path)) throw new AlreadyExists(path);
}

/**
 * Writes a folder that is there whole or not at all: `fill` writes into a temporary one beside it, which takes the name
 * when it is done, and is removed if it throws. Folders above are made.
 *
 * @throws {AlreadyExists} if there is something at `path`, before `fill` is called
 */
export async function writeFolder(path: string, fill: (temporary: string) => Promise<void>): Promise<void> {
  await checkFree(path);
  const target = resolve(path);
  const temporary = `${target}.${randomBytes(4).toString("hex")}.partial`;
  await mkdir(dirname(target), { recursive: true });
  await mkdir(temporary);
  try {
    await fill(temporary);
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
