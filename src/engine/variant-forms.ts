import { embeddingName, ownHeadName, type SlotClass, slotClassId } from "../core/index.js";
import { type ContentsForm, contentsForm, slotClassesOf, type VariantSource } from "../formats/index.js";

/** What variants that were made in one way have in common. */
export interface VariantForm {
  readonly contents: ContentsForm;
  /** The classes of their parts by their ids, each with the matrices where they have one. */
  readonly classes: ReadonlyMap<string, { readonly slotClass: SlotClass; readonly matrices: ReadonlySet<string> }>;
  /** The ids of these classes. */
  readonly needs: ReadonlySet<string>;
}

/** Forms of variants, each once however many have it. */
export class VariantForms {
  readonly #forms = new Map<string, VariantForm>();

  /** @param untied the variant has an output head of its own, and the base has not */
  of(source: VariantSource, untied: boolean): VariantForm {
    const contents = contentsForm(source);
    const key = JSON.stringify([[...contents.tensors], [...contents.blobs], untied]);
    const known = this.#forms.get(key);
    if (known) return known;
    const classes = classesOf(source, untied);
    const form = { contents, classes, needs: new Set(classes.keys()) };
    this.#forms.set(key, form);
    return form;
  }
}

function classesOf({ tensors }: VariantSource, untied: boolean): VariantForm["classes"] {
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
