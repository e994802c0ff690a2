import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { InvalidFile } from "../core/index.js";
import { isRecord } from "../util/index.js";
import { FileSource } from "./byte-source.js";
import { readJsonIfPresent } from "./json-file.js";
import { readSafetensorsHeader, type SafetensorsEntry } from "./safetensors.js";

/** A stored tensor and the open file it lies in. */
export interface WeightLocation extends SafetensorsEntry {
  readonly source: FileSource;
}

const singleFile = "model.safetensors";
const indexFile = "model.safetensors.index.json";

/** The open safetensors files of a Hugging Face folder, one or several shards, seen as one. */
export class WeightFiles implements AsyncDisposable {
  readonly tensors: ReadonlyMap<string, WeightLocation>;
  readonly #sources: readonly FileSource[];

  private constructor(tensors: ReadonlyMap<string, WeightLocation>, sources: readonly FileSource[]) {
    this.tensors = tensors;
    this.#sources = sources;
  }

  /** @throws {InvalidFile} naming the file or tensor that is missing or malformed; nothing stays open then */
  static async open(folder: string): Promise<WeightFiles> {
    const shardOf = await readIndex(folder);
    const names = shardOf ? [...new Set(shardOf.values())].sort() : [await findSingle(folder)];
    const sources: FileSource[] = [];
    const tensors = new Map<string, WeightLocation>();
    try {
      for (const name of names) {
        const source = await FileSource.open(join(folder, name));
        sources.push(source);
        const { entries } = await readSafetensorsHeader(source);
        for (const entry of entries.values()) {
          if (!shardOf || shardOf.get(entry.name) === name) tensors.set(entry.name, { ...entry, source });
        }
      }
      for (const [tensor, shard] of shardOf ?? []) {
        if (tensors.has(tensor)) continue;
        throw new InvalidFile(
          join(folder, shard),
          `${indexFile} says that tensor "${tensor}" is in it, but it is not`,
          {
            details: { tensor },
          },
        );
      }
      return new WeightFiles(tensors, sources);
    } catch (error) {
      await closeAll(sources);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closeAll(this.#sources);
  }
}

/** Whether a folder's weights are in shards that an index lists. */
export async function listsShards(folder: string): Promise<boolean> {
  return (await readIndex(folder)) !== undefined;
}

async function closeAll(sources: readonly FileSource[]): Promise<void> {
  await Promise.all(sources.map((source) => source[Symbol.asyncDispose]()));
}

/** Tensor name → shard's file name; undefined where the folder is not sharded. */
async function readIndex(folder: string): Promise<ReadonlyMap<string, string> | undefined> {
  const path = join(folder, indexFile);
  const index = await readJsonIfPresent(path);
  if (!index) return undefined;
  if (!isRecord(index.weight_map)) throw new InvalidFile(path, "weight_map is missing or not an object");
  const shardOf = new Map<string, string>();
  for (const [tensor, shard] of Object.entries(index.weight_map)) {
    // A plain file name: an index must not lead out of its folder.
    if (typeof shard !== "string" || shard === "" || shard === ".." || /[/\\\0]/.test(shard)) {
      throw new InvalidFile(path, `tensor "${tensor}" is said to be in ${JSON.stringify(shard)}, expected a file name`);
    }
    shardOf.set(tensor, shard);
  }
  return shardOf;
}

async function findSingle(folder: string): Promise<string> {
  const files = await readdir(folder);
  if (files.includes(singleFile)) return singleFile;
  const other = files.find((file) => /\.(bin|pth?|ckpt|gguf)$/.test(file));
  throw new InvalidFile(
    folder,
    `it has neither ${singleFile} nor ${indexFile}${other ? `; ${basename(other)} is in a format not read from a folder` : ""}`,
  );
}
