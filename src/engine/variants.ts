import {
  embeddingName,
  errorFromData,
  errorToData,
  KindredError,
  type ModelConfig,
  ownHeadName,
  type SlotClass,
  slotClassId,
} from "../core/index.js";
import { blobsInOrder, type Checkpoint, openVariant, slotClassesOf, type VariantSource } from "../formats/index.js";
import type { SlotNeeds } from "../storage/index.js";
import { sha256 } from "../util/index.js";
import type { EngineInfo, EngineOptions } from "./messages.js";

/** A variant that this engine can serve: where it is read from, open and checked, and what it takes to be resident. */
export interface RegisteredVariant {
  readonly name: string;
  readonly source: VariantSource;
  /** The classes of its parts by their ids, each with the matrices where it has one. */
  readonly classes: ReadonlyMap<string, { readonly slotClass: SlotClass; readonly matrices: ReadonlySet<string> }>;
  /** The ids of these classes: it needs a slot of each. */
  readonly needs: SlotNeeds;
  /** Rows of its vocabulary, which may be more or fewer than the base's. */
  readonly vocabSize: number;
  /** It has an output head of its own, and the base has not. */
  readonly untied: boolean;
  /** SHA-256 over the checksums of its blobs; null where they have none, so that a load may read others than the one before. */
  readonly digest: string | null;
}

/** A variant whose blueprint differs from the base's in more than embedding and output head: they cannot share a forward pass. */
export class BlueprintMismatch extends KindredError {
  constructor(variant: string, field: string, own: unknown, base: unknown) {
    super(
      "blueprint_mismatch",
      409,
      `Cannot serve variant ${variant}: its config.json has ${field} ${JSON.stringify(own)}, the base's ${JSON.stringify(base)}`,
      { details: { variant, field } },
    );
  }
}

/** An artifact that restores a fine-tune bit for bit and holds nothing to compute with. */
export class OnlyExact extends KindredError {
  constructor(variant: string) {
    super(
      "only_exact",
      422,
      `Cannot serve variant ${variant}: its artifact only restores the fine-tune; compress it with planes, such as --codec sign --exact, to have both`,
      { details: { variant } },
    );
  }
}

/**
 * Opens every variant against the base. One that does not fit is refused and the others go on.
 *
 * @param options.isChecked only headers are read; see `openVariant`
 */
export async function openVariants(
  sources: EngineOptions["variants"],
  base: Checkpoint,
  options: { isChecked?: boolean } = {},
): Promise<{ variants: Map<string, RegisteredVariant>; refused: EngineInfo["refused"] }> {
  const variants = new Map<string, RegisteredVariant>();
  const refused: { name: string; error: ReturnType<typeof errorToData> }[] = [];
  for (const { name, path } of sources) {
    try {
      variants.set(name, await registerVariant(name, path, base, options));
    } catch (error) {
      refused.push({ name, error: errorToData(error) });
    }
  }
  return { variants, refused };
}

/** @throws {KindredError} what keeps a variant that is to be pinned from being served */
export function checkPins(
  pinned: readonly string[],
  { variants, refused }: Awaited<ReturnType<typeof openVariants>>,
): void {
  for (const name of pinned) {
    if (variants.has(name)) continue;
    const own = refused.find((other) => other.name === name);
    if (own) throw errorFromData(own.error);
    throw new KindredError("model_not_found", 404, `Cannot pin ${name}: no variant has that name`);
  }
}

/**
 * Opens one variant against the base.
 *
 * @throws {KindredError} if it is damaged, was made against another base, has another blueprint, or has only exact layers
 */
export async function registerVariant(
  name: string,
  path: string,
  base: Checkpoint,
  options: { isChecked?: boolean } = {},
): Promise<RegisteredVariant> {
  const source = await openVariant(path, base, options);
  try {
    checkBlueprint(name, source.config, base.config);
    if ([...source.tensors.values()].some(({ kind }) => kind === "exact")) throw new OnlyExact(name);
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
  return describeVariant(name, source, base.config);
}

/** What an open variant takes on a base of this blueprint. */
export function describeVariant(name: string, source: VariantSource, base: ModelConfig): RegisteredVariant {
  const untied = base.tiedEmbeddings && source.tensors.has(ownHeadName);
  const classes = classesOf(source, untied);
  return {
    name,
    source,
    classes,
    needs: new Set(classes.keys()),
    vocabSize: source.config.vocabSize,
    untied,
    digest: digestOf(source),
  };
}

function digestOf({ tensors }: VariantSource): string | null {
  const blobs = blobsInOrder(tensors.values());
  if (blobs.some((blob) => blob.sha256 === null)) return null;
  return sha256(blobs.map((blob) => `${blob.name} ${blob.sha256}\n`).join(""));
}

function classesOf({ tensors }: VariantSource, untied: boolean): RegisteredVariant["classes"] {
  const classes = new Map<string, { slotClass: SlotClass; matrices: Set<string> }>();
  for (const tensor of tensors.values()) {
    if (tensor.kind !== "planes") continue;
    const isApart = untied && (tensor.name === embeddingName || tensor.name === ownHeadName);
    for (const plain of slotClassesOf(tensor)) {
      const slotClass: SlotClass = isApart ? { ...plain, untied: true } : plain;
      const id = slotClassId(slotClass);
      const known = classes.get(id) ?? { slotClass, matrices: new Set() };
      known.matrices.add(tensor.name);
      classes.set(id, known);
    }
  }
  return classes;
}

function checkBlueprint(name: string, own: ModelConfig, base: ModelConfig): void {
  for (const field of Object.keys(base) as (keyof ModelConfig)[]) {
    // A longer context is a promise about positions, not a different pass; words and heads of its own have pools.
    if (field === "contextLength" || field === "vocabSize" || field === "tiedEmbeddings") continue;
    if (JSON.stringify(own[field]) !== JSON.stringify(base[field]))
      throw new BlueprintMismatch(name, field, own[field], base[field]);
  }
}
