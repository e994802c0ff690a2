import { statSync } from "node:fs";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { type Completer, type ErrorData, errorToData, InvalidFile, type ServiceEvent } from "../core/index.js";
import type { EngineInfo, EngineOptions, FromEngine } from "../engine/index.js";
import { type Checkpoint, isVariantFolder, openCheckpoint, openVariant, type VariantSource } from "../formats/index.js";
import { EngineProcess, InlineEngine, LocalCompleter, ServedModel } from "../runtime/index.js";
import { Tokenizer } from "../text/index.js";
import { inLanes } from "../util/index.js";

/** Opening a variant is waiting for files, for the most part. */
const openedAtOnce = 8;

export interface ServiceOptions {
  /** A Hugging Face folder or a GGUF file. */
  readonly base: string;
  /** What clients call the base. Default: the folder's or file's name. */
  readonly name?: string | undefined;
  /** A folder whose subfolders are delta artifacts or PEFT adapters, each served under its folder's name. */
  readonly variants?: string | undefined;
  readonly engine: Omit<EngineOptions, "base" | "variants">;
  /** Compute in this process instead of one of its own. */
  readonly inline?: boolean;
  readonly onLoading?: (progress: { readonly bytesDone: number; readonly bytesTotal: number }) => void;
  readonly onEvent?: ((event: ServiceEvent) => void) | undefined;
}

/** A base and its variants, ready to complete. Disposing it ends the engine. */
export interface Service extends AsyncDisposable {
  readonly completer: Completer;
  readonly baseId: string;
  readonly info: EngineInfo;
  /** The engine's process; undefined when it computes in this one. */
  readonly enginePid: number | undefined;
}

/**
 * Opens everything a service is made of: texts on this side, weights and variants in the engine.
 *
 * @throws {KindredError} when the base cannot be served; a variant that cannot is named in `info.refused` instead
 */
export async function openService(options: ServiceOptions): Promise<Service> {
  const sources = options.variants ? await findVariants(options.variants) : [];
  await using checkpoint = await openCheckpoint(options.base);
  const engineOptions = { ...options.engine, base: options.base, variants: sources };
  const onMessage = (message: FromEngine) => {
    if (message.type === "loading") options.onLoading?.(message);
  };
  const opening = openTexts(sources, checkpoint); // while the engine starts
  const port = await (options.inline ? InlineEngine : EngineProcess).start(engineOptions, onMessage);
  try {
    const refused = [...port.info.refused];
    const base = baseModel(options.name ?? checkpoint.name, checkpoint, options.base, port.info);
    const models = [base];
    for (const [source, found] of await opening) {
      if (refused.some(({ name }) => name === source.name)) continue;
      if ("assets" in found) models.push(variantModel(source, found, base));
      else refused.push({ name: source.name, error: found });
    }
    const completer = new LocalCompleter(port, {
      models,
      contextLength: port.info.contextLength,
      onEvent: options.onEvent,
    });
    return {
      completer,
      baseId: base.card.id,
      info: { ...port.info, refused },
      get enginePid() {
        return port instanceof EngineProcess ? port.pid : undefined;
      },
      [Symbol.asyncDispose]: () => port[Symbol.asyncDispose](),
    };
  } catch (error) {
    await port[Symbol.asyncDispose]();
    throw error;
  }
}

/** The variants in a folder: every subfolder that is a delta artifact or a PEFT adapter, or the folder itself when it is one. */
export async function findVariants(folder: string): Promise<{ name: string; path: string }[]> {
  if (isVariantFolder(folder)) return [{ name: path.basename(path.resolve(folder)), path: folder }];
  const entries = await readdir(folder, { withFileTypes: true }).catch((cause: Error) => {
    throw new InvalidFile(folder, `it should be a folder of delta artifacts or adapters (${cause.message})`, { cause });
  });
  return entries
    .map((entry) => ({ name: entry.name, path: path.join(folder, entry.name) }))
    .filter((candidate) => isVariantFolder(candidate.path))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function baseModel(id: string, base: Checkpoint, file: string, { contextLength }: EngineInfo): ServedModel {
  return new ServedModel({
    card: { id, parent: null, contextLength, created: writtenSeconds(file) },
    variant: null,
    assets: base.text,
    tokenizer: Tokenizer.from(base.text, file),
    vocabSize: base.config.vocabSize,
    configJson: base.configJson,
  });
}

type VariantPath = EngineOptions["variants"][number];

/** What of a variant the engine does not know. */
interface VariantTexts extends Pick<VariantSource, "configJson"> {
  readonly assets: Checkpoint["text"];
  /** Undefined where it has none of its own. */
  readonly tokenizer: Tokenizer | undefined;
  readonly vocabSize: number;
  /** When its folder was written, in seconds since 1970. */
  readonly created: number;
}

/** The texts of all, or what kept one from being read. */
async function openTexts(
  sources: readonly VariantPath[],
  base: Checkpoint,
): Promise<ReadonlyMap<VariantPath, VariantTexts | ErrorData>> {
  const found = new Map<VariantPath, VariantTexts | ErrorData>();
  await inLanes(sources, openedAtOnce, async (source) => {
    found.set(source, await textsOf(source, base).catch(errorToData));
  });
  return new Map(sources.map((source) => [source, found.get(source)!]));
}

async function textsOf({ path: folder }: VariantPath, base: Checkpoint): Promise<VariantTexts> {
  await using variant = await openVariant(folder, base, { isChecked: true }); // by the engine
  const assets = { ...base.text, ...variant.text };
  const tokenizer = hasOwnTokenizer(variant) ? Tokenizer.from(assets, folder) : undefined;
  const { config, configJson } = variant;
  return { assets, tokenizer, vocabSize: config.vocabSize, configJson, created: writtenSeconds(folder) };
}

/** A variant without a tokenizer of its own shares the base's. */
function variantModel(
  { name }: VariantPath,
  { assets, tokenizer, vocabSize, configJson, created }: VariantTexts,
  base: ServedModel,
): ServedModel {
  return new ServedModel({
    card: { ...base.card, id: name, parent: base.card.id, created },
    variant: name,
    assets,
    tokenizer: tokenizer ?? base.tokenizer,
    vocabSize,
    configJson,
  });
}

const hasOwnTokenizer = ({ text }: VariantSource) => text.tokenizer !== undefined || text.tokenizerConfig !== undefined;

const writtenSeconds = (file: string) => Math.floor(statSync(file).mtimeMs / 1000);
