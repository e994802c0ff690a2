import {
  type ErrorData,
  errorFromData,
  errorToData,
  KindredError,
  type ModelConfig,
  ownHeadName,
  type SlotClass,
} from "../core/index.js";
import {
  blobsInOrder,
  type Checkpoint,
  openVariant,
  packContents,
  residentBytes,
  type VariantContents,
  type VariantSource,
} from "../formats/index.js";
import type { SlotNeeds } from "../storage/index.js";
import { inLanes, sha256 } from "../util/index.js";
import type { EngineInfo, EngineOptions } from "./messages.js";
import { VariantForms } from "./variant-forms.js";

/** Opening one is waiting for files, for the most part. */
const openedAtOnce = 8;

/** A variant that this engine can serve: where it is read from, checked and closed again, and what it takes to be resident. */
export interface RegisteredVariant {
  readonly name: string;
  readonly contents: VariantContents;
  /** The classes of its parts by their ids, each with the matrices where it has one. */
  readonly classes: ReadonlyMap<string, { readonly slotClass: SlotClass; readonly matrices: ReadonlySet<string> }>;
  /** The ids of these classes: it needs a slot of each. */
  readonly needs: SlotNeeds;
  /** Rows of its vocabulary, which may be more or fewer than the base's. */
  readonly vocabSize: number;
  /** It has an output head of its own, and the base has not. */
  readonly untied: boolean;
  /** What it has by itself; see `residentBytes`. */
  readonly residentBytes: number;
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
 * Registers every variant, several at a time. One that does not fit the base is refused and the others go on.
 *
 * @param options.isChecked only headers are read; see `openVariant`
 */
export async function openVariants(
  sources: EngineOptions["variants"],
  base: Checkpoint,
  options: { isChecked?: boolean } = {},
): Promise<{ variants: Map<string, RegisteredVariant>; refused: EngineInfo["refused"] }> {
  const forms = new VariantForms();
  const outcomes = new Map<string, RegisteredVariant | ErrorData>();
  await inLanes(sources, openedAtOnce, async ({ name, path }) => {
    outcomes.set(name, await registerVariant(name, path, base, { ...options, forms }).catch(errorToData));
  });
  const variants = new Map<string, RegisteredVariant>();
  const refused: { name: string; error: ErrorData }[] = [];
  for (const { name } of sources) {
    const outcome = outcomes.get(name)!;
    if ("contents" in outcome) variants.set(name, outcome);
    else refused.push({ name, error: outcome });
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
 * Opens one variant, holds it against the base, and closes it.
 *
 * @param options.forms those of others that are registered, to be shared
 * @throws {KindredError} if it is damaged, was made against another base, has another blueprint, or has only exact layers
 */
export async function registerVariant(
  name: string,
  path: string,
  base: Checkpoint,
  { forms = new VariantForms(), ...options }: { isChecked?: boolean; forms?: VariantForms } = {},
): Promise<RegisteredVariant> {
  await using source = await openVariant(path, base, options);
  checkBlueprint(name, source.config, base.config);
  if ([...source.tensors.values()].some(({ kind }) => kind === "exact")) throw new OnlyExact(name);
  return describeVariant(name, source, base.config, forms);
}

/** What an open variant takes on a base of this blueprint, and where it is read from. */
export function describeVariant(
  name: string,
  source: VariantSource,
  base: ModelConfig,
  forms: VariantForms,
): RegisteredVariant {
  const untied = base.tiedEmbeddings && source.tensors.has(ownHeadName);
  const { contents, classes, needs } = forms.of(source, untied);
  return {
    name,
    contents: packContents(source, contents),
    classes,
    needs,
    vocabSize: source.config.vocabSize,
    untied,
    residentBytes: residentBytes(source),
    digest: digestOf(source),
  };
}

function digestOf({ tensors }: VariantSource): string | null {
  const blobs = blobsInOrder(tensors.values());
  if (blobs.some((blob) => blob.sha256 === null)) return null;
  return sha256(blobs.map((blob) => `${blob.name} ${blob.sha256}\n`).join(""));
}

function checkBlueprint(name: string, own: ModelConfig, base: ModelConfig): void {
  for (const field of Object.keys(base) as (keyof ModelConfig)[]) {
    // A longer context is a promise about positions, not a different pass; words and heads of its own have pools.
    if (field === "contextLength" || field === "vocabSize" || field === "tiedEmbeddings") continue;
    if (JSON.stringify(own[field]) !== JSON.stringify(base[field]))
      throw new BlueprintMismatch(name, field, own[field], base[field]);
  }
}
