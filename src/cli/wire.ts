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
  const port = await (options.inline ? InlineEngine : EngineProcess).start(engineOptions, onMessage);
  try {
    const refused = [...port.info.refused];
    const base = baseModel(options.name ?? checkpoint.name, checkpoint, options.base, port.info);
    const models = [base];
    const served = sources.filter((source) => !refused.some(({ name }) => name === source.name));
    const outcomes = new Map<string, ServedModel | ErrorData>();
    await inLanes(served, openedAtOnce, async (source) => {
      outcomes.set(source.name, await variantModel(source, base, checkpoint).catch(errorToData));
    });
    for (const { name } of served) {
      const outcome = outcomes.get(name)!;
      if (outcome instanceof ServedModel) models.push(outcome);
      else refused.push({ name, error: outcome });
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

/** A variant without a tokenizer of its own shares the base's. */
async function variantModel(
  source: { readonly name: string; readonly path: string },
  { card, tokenizer }: ServedModel,
  base: Checkpoint,
): Promise<ServedModel> {
  await using variant = await openVariant(source.path, base, { isChecked: true }); // by the engine
  const assets = { ...base.text, ...variant.text };
  return new ServedModel({
    card: { ...card, id: source.name, parent: card.id, created: writtenSeconds(source.path) },
    variant: source.name,
    assets,
    tokenizer: hasOwnTokenizer(variant) ? Tokenizer.from(assets, source.path) : tokenizer,
    vocabSize: variant.config.vocabSize,
    configJson: variant.configJson,
  });
}

const hasOwnTokenizer = ({ text }: VariantSource) => text.tokenizer !== undefined || text.tokenizerConfig !== undefined;

const writtenSeconds = (file: string) => Math.floor(statSync(file).mtimeMs / 1000);
