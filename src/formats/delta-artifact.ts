// A delta artifact is a folder:
//
//   delta.json              what is in it and against which base              (delta-manifest.ts)
//   delta.safetensors       the bytes, as U8 tensors filled with zeros to 64-byte boundaries
//   config.json             the variant's blueprint, as Hugging Face has it
//   tokenizer.json, tokenizer_config.json, chat_template.jinja, generation_config.json   where they differ from the base's
//
// delta.safetensors, in slot order, so that loading a variant reads it from front to back:
//
//   ┌────────┬────────────────────┬───────────────────────┬────────────────┬───┬────────────────────────────┬───────────────────────────┐
//   │ header │ NAME.value, …      │ NAME.plane1, …        │ NAME.plane2, … │ … │ NAME.factors1.down, .up, … │ NAME.exact, …             │
//   │        │ NAME.extra_rows, … │ of every coded matrix │                │   │ of every matrix with them  │ which serving never reads │
//   └────────┴────────────────────┴───────────────────────┴────────────────┴───┴────────────────────────────┴───────────────────────────┘
//
// Every blob has a SHA-256 in delta.json, every other file has one there too, and delta.json has one over itself: bytes
// that changed since they were written are found out, the blobs' when they are read.

import { readFile, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { BaseMismatch, InvalidFile, type ModelConfig, ownHeadName } from "../core/index.js";
import { alignUp, assert, sha256 } from "../util/index.js";
import { FileSource, type FileStamp } from "./byte-source.js";
import type { Checkpoint } from "./checkpoint.js";
import { checkDeltaTensors, deltaConfig } from "./delta-check.js";
import { type DeltaManifest, type OriginalFile, parseManifest, printManifest, totalsOf } from "./delta-manifest.js";
import { baseShape, blobsInOrder, type DeltaBlob, type DeltaTensor, storedBytes } from "./delta-tensor.js";
import { readTextIfPresent } from "./json-file.js";
import { parseModelConfig } from "./model-config.js";
import { readSafetensorsHeader, type SafetensorsEntry } from "./safetensors.js";
import { writeSafetensors } from "./safetensors-writer.js";
import { readStored, type StoredBlob } from "./stored-blob.js";
import { parseObject, parseText, printJson, printText, type TextOverrides, textFileNames } from "./text-files.js";
import type { VariantSource } from "./variant-source.js";
import { withVocabulary } from "./vocabulary-view.js";

const ALIGNMENT = 64;
/** The file by which a delta artifact is known. */
export const deltaManifestFile = "delta.json";
const blobFile = "delta.safetensors";
const configFile = "config.json";
const plain = { kind: "plain" } as const;

/** A variant on disk as its difference to a base. Disposing closes its file. */
export class DeltaArtifact implements VariantSource {
  /** The folder's name. */
  readonly name: string;
  readonly path: string;
  /** The variant's own. */
  readonly config: ModelConfig;
  /** config.json as found. */
  readonly configJson: Readonly<Record<string, unknown>>;
  readonly codec: DeltaManifest["codec"];
  /** The checkpoint that it was made against; see {@link checkBase}. */
  readonly base: DeltaManifest["base"];
  /** Every parameter of the variant by name, in slot order. */
  readonly tensors: ReadonlyMap<string, DeltaTensor>;
  /** What of tokenizer, template and defaults is not the base's. */
  readonly text: TextOverrides;
  /** The file that its exact layers restore, where it is known how it began. */
  readonly original: OriginalFile | undefined;
  /** Elements of all parameters; bytes of all blobs as they are stored. */
  readonly totals: { readonly parameters: number; readonly bytes: number };
  readonly file: FileStamp;
  readonly #source: FileSource;
  readonly #entries: ReadonlyMap<string, SafetensorsEntry>;

  /** For {@link openDelta}, which has checked all of it. */
  constructor(
    path: string,
    manifest: DeltaManifest,
    files: { configJson: Readonly<Record<string, unknown>>; config: ModelConfig; text: TextOverrides },
    blobs: { file: FileStamp; source: FileSource; entries: ReadonlyMap<string, SafetensorsEntry> },
  ) {
    this.name = basename(resolve(path));
    this.path = path;
    this.config = files.config;
    this.configJson = files.configJson;
    this.text = files.text;
    this.codec = manifest.codec;
    this.base = manifest.base;
    this.tensors = manifest.tensors;
    this.original = manifest.original;
    this.totals = totalsOf(manifest.tensors.values());
    this.file = blobs.file;
    this.#source = blobs.source;
    this.#entries = blobs.entries;
  }

  /**
   * Fills `into`, whose length must be the blob's, and verifies the checksum. Reads may overlap. A blob that is stored as it
   * is goes straight there, one that is coded by way of its code.
   *
   * @throws {InvalidFile} if the bytes are not those that were written; `into` holds them nevertheless
   */
  async readBlob(blob: DeltaBlob, into: Uint8Array): Promise<void> {
    await readStored(this.#source, this.locate(blob), into);
  }

  locate(blob: DeltaBlob): StoredBlob {
    const entry = this.#entries.get(blob.name);
    assert(entry, `${this.path} was asked for the blob ${blob.name}, which it does not list`);
    const { name, byteLength, sha256, code } = blob;
    const form = code ? ({ kind: "coded", dtype: code.dtype, shape: code.shape } as const) : plain;
    return { name, byteLength, sha256, offset: entry.offset, storedBytes: storedBytes(blob), form };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]();
  }
}

/**
 * Opens a delta artifact and holds everything in it against everything else; blobs are verified when they are read.
 *
 * @throws {InvalidFile} if a file is missing, damaged, or does not fit the others
 * @throws {UnsupportedModel} if its config.json describes a model that this version does not compute
 */
export async function openDelta(path: string): Promise<DeltaArtifact> {
  const manifestPath = join(path, deltaManifestFile);
  const content = await readTextIfPresent(manifestPath);
  if (content === undefined)
    throw new InvalidFile(manifestPath, "there is no such file; a delta artifact is a folder with one");
  const manifest = parseManifest(manifestPath, content);
  const files = await readListedFiles(path, manifest.files);
  const configPath = join(path, configFile);
  const configJson = parseObject(configPath, files.get(configFile) ?? "");
  const config = parseModelConfig(configPath, configJson);
  checkDeltaTensors(manifestPath, config, manifest.tensors);
  const text = parseText(path, files);

  const source = await FileSource.open(join(path, blobFile));
  try {
    const { entries } = await readSafetensorsHeader(source);
    checkBlobs(source.path, blobsInOrder(manifest.tensors.values()), [...entries.values()]);
    const file = { ...source.stamp, checksums: { path: manifestPath, sha256: sha256(content) } };
    return new DeltaArtifact(path, manifest, { configJson, config, text }, { file, source, entries });
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * Makes sure that `artifact` can be applied to `base`. Reads all of `base` the first time.
 *
 * @returns the base as the artifact's tensors change it: without the words that the variant lacks, and with an output head of its
 *   own where the artifact has one for it
 * @throws {BaseMismatch} if it was made against another
 * @throws {InvalidFile} if it was made against this one, by its own account, but does not fit
 */
export async function checkBase(artifact: DeltaArtifact, base: Checkpoint): Promise<Checkpoint> {
  const fingerprint = await base.fingerprint();
  if (fingerprint !== artifact.base.fingerprint) {
    throw new BaseMismatch(artifact.name, artifact.base, { name: base.name, fingerprint });
  }
  const manifestPath = join(artifact.path, deltaManifestFile);
  const { tiedEmbeddings, vocabSize } = deltaConfig(artifact.config, artifact.tensors);
  if (tiedEmbeddings !== (base.config.tiedEmbeddings && artifact.config.tiedEmbeddings)) {
    const problem = `it ${tiedEmbeddings ? "lacks" : "has"} a tensor "${ownHeadName}", and one is there unless variant and base are both tied`;
    throw new InvalidFile(manifestPath, problem, { details: { tensor: ownHeadName } });
  }
  const view = withVocabulary(base, { tiedEmbeddings, vocabSize: Math.min(vocabSize, base.config.vocabSize) });
  for (const tensor of artifact.tensors.values()) {
    const expected = tensor.kind === "absolute" ? tensor.shape : baseShape(tensor);
    const found = view.tensors.get(tensor.name)?.shape ?? [];
    if (isDeepStrictEqual(expected, found)) continue;
    throw new InvalidFile(
      manifestPath,
      `tensor "${tensor.name}" changes a [${expected.join(", ")}], the base's is [${found.join(", ")}]`,
      { details: { tensor: tensor.name } },
    );
  }
  return view;
}

/** What {@link writeDelta} writes. */
export interface DeltaContents extends Pick<DeltaManifest, "codec" | "base" | "tensors" | "original"> {
  readonly configJson: Readonly<Record<string, unknown>>;
  readonly text: TextOverrides;
  /** Gives a blob as it is to be stored. Called once for each, in the order of the file. */
  readonly readBlob: (blob: DeltaBlob) => Promise<Uint8Array>;
}

/** Writes the files of an artifact into an existing empty folder, one blob in memory at a time. */
export async function writeDelta(folder: string, contents: DeltaContents): Promise<void> {
  const blobs = blobsInOrder(contents.tensors.values()).map((blob) => {
    const stored = alignUp(storedBytes(blob), ALIGNMENT);
    return {
      name: blob.name,
      dtype: "U8",
      shape: [stored],
      bytes: async () => fill(await contents.readBlob(blob), stored),
    } as const;
  });
  await writeSafetensors(join(folder, blobFile), blobs, { alignment: ALIGNMENT });

  const files = new Map<string, string>([[configFile, printJson(contents.configJson)], ...printText(contents.text)]);
  for (const [name, content] of files) await writeFile(join(folder, name), content);
  const checksums = new Map([...files].map(([name, content]) => [name, sha256(content)]));
  await writeFile(join(folder, deltaManifestFile), printManifest({ ...contents, files: checksums }));
}

/** Reads the files that the manifest lists and verifies them; none may lie there unlisted, where it would be ignored. */
async function readListedFiles(
  path: string,
  listed: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  const known = [configFile, ...textFileNames];
  const stranger = [...listed.keys()].find((name) => !known.includes(name));
  if (stranger !== undefined)
    throw new InvalidFile(join(path, deltaManifestFile), `it lists a file "${stranger}", expected ${known.join(", ")}`);
  for (const name of known) {
    const filePath = join(path, name);
    const expected = listed.get(name);
    const bytes = await readFile(filePath).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === "ENOENT") return undefined;
      throw new InvalidFile(filePath, cause.message, { cause });
    });
    if (bytes === undefined && expected === undefined && name !== configFile) continue;
    if (bytes === undefined)
      throw new InvalidFile(filePath, `there is no such file, though ${deltaManifestFile} needs it`);
    if (expected === undefined) throw new InvalidFile(filePath, `${deltaManifestFile} does not list it`);
    if (sha256(bytes) !== expected)
      throw new InvalidFile(filePath, `its content does not match its checksum in ${deltaManifestFile}`);
    files.set(name, bytes.toString("utf8"));
  }
  return files;
}

function checkBlobs(path: string, expected: readonly DeltaBlob[], found: readonly SafetensorsEntry[]): void {
  for (let i = 0; i < Math.max(expected.length, found.length); i++) {
    const blob = expected[i];
    const entry = found[i];
    if (!blob)
      throw new InvalidFile(path, `it has a blob "${entry?.name}" that ${deltaManifestFile} does not describe`);
    if (entry?.name !== blob.name) {
      throw new InvalidFile(
        path,
        `blob ${i + 1} is ${entry ? `"${entry.name}"` : "missing"}, ${deltaManifestFile} asks for "${blob.name}"`,
      );
    }
    const stored = alignUp(storedBytes(blob), ALIGNMENT);
    if (entry.dtype !== "U8" || entry.byteLength !== stored) {
      throw new InvalidFile(
        path,
        `blob "${blob.name}" is ${entry.byteLength} bytes of ${entry.dtype}, expected ${stored} of U8`,
      );
    }
  }
}

/** The bytes with zeros after them. */
function fill(bytes: Uint8Array, byteLength: number): Uint8Array {
  if (bytes.length === byteLength) return bytes;
  const filled = new Uint8Array(byteLength);
  filled.set(bytes);
  return filled;
}
