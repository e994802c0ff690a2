import { readFile } from "node:fs/promises";
import { InvalidFile } from "../core/index.js";
import { isRecord } from "../util/index.js";

/**
 * Reads a JSON object; undefined where there is no such file.
 *
 * @throws {InvalidFile} if it cannot be read, is not JSON, or is JSON of another kind
 */
export async function readJsonIfPresent(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  const text = await readTextIfPresent(path);
  if (text === undefined) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new InvalidFile(path, `it is not valid JSON (${(cause as Error).message})`, { cause });
  }
  if (!isRecord(json)) throw new InvalidFile(path, "it holds JSON, but not an object");
  return json;
}

/** Reads a JSON object that must be there; else as {@link readJsonIfPresent}. */
export async function readJson(path: string): Promise<Readonly<Record<string, unknown>>> {
  const json = await readJsonIfPresent(path);
  if (json === undefined) throw new InvalidFile(path, "there is no such file");
  return json;
}

/** Reads a whole UTF-8 file; undefined where there is no such file. */
export async function readTextIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new InvalidFile(path, (cause as Error).message, { cause });
  }
}
