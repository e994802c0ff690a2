// What is kept of a variant's table of contents once it is closed. Variants of one form share most of it; a variant's own is packed:
//
//   places    f64   offset, storedBytes of blob 0 │ of blob 1 │ …
//   digests   u8    SHA-256 of blob 0             │ of blob 1 │ …      none where the file has no checksums

import { assert } from "../util/index.js";
import { type ByteSource, FileSource, type FileStamp } from "./byte-source.js";
import {
  type DeltaTensor,
  type FactorDType,
  type FloatDType,
  type PlaneDType,
  planeShape,
  servedBlobs,
} from "./delta-tensor.js";
import type { StoredBlob, StoredForm } from "./stored-blob.js";
import type { VariantSource } from "./variant-source.js";

const digestBytes = 32;

/** How a parameter follows from the base's, by the names of the blobs that serving reads. */
export type TensorContents =
  | { readonly kind: "unchanged"; readonly dtype: FloatDType; readonly extraRows: string | null }
  | { readonly kind: "absolute"; readonly dtype: FloatDType; readonly value: string }
  | {
      readonly kind: "planes";
      readonly dtype: FloatDType;
      /** Null where there is no plane. */
      readonly planeDType: PlaneDType | null;
      readonly planes: readonly string[];
      readonly factors: readonly FactorNames[];
      readonly extraRows: string | null;
    };

/** Two blobs whose product is added. */
export interface FactorNames {
  readonly dtype: FactorDType;
  readonly rank: number;
  readonly down: string;
  readonly up: string;
}

/** What variants that were made in one way have in common. Plain data. */
export interface ContentsForm {
  /** By parameter. */
  readonly tensors: ReadonlyMap<string, TensorContents>;
  /** In the order of the file. A plane's form is `coded`, and plain in a variant where it takes as many bytes as it has. */
  readonly blobs: ReadonlyMap<
    string,
    { readonly index: number; readonly byteLength: number; readonly form: StoredForm }
  >;
}

/** A variant's parts, and where they lie in a file that is closed. */
export interface VariantContents {
  readonly tensors: ContentsForm["tensors"];
  /** That the blobs lie in, as it was when the variant was opened. */
  readonly file: FileStamp;
  /** Where a blob lies in it, by its name. */
  locate(blob: string): StoredBlob;
  /**
   * Opens the file again.
   *
   * @throws {FileChanged} if it is not what it was
   */
  reopen(): Promise<ByteSource & AsyncDisposable>;
}

type Located = Pick<VariantSource, "tensors" | "locate" | "file">;

/** @param source without tensors that are only restored, which are not served */
export function contentsForm(source: Located): ContentsForm {
  const tensors = [...source.tensors.values()];
  const coded = new Map<string, StoredForm>();
  for (const tensor of tensors) {
    if (tensor.kind !== "planes" || !tensor.planeDType) continue;
    const form = { kind: "coded", dtype: tensor.planeDType, shape: planeShape(tensor) } as const;
    for (const { name } of tensor.planes) coded.set(name, form);
  }
  const blobs = servedBlobs(tensors).map((blob, index) => {
    const { name, byteLength } = blob;
    return [name, { index, byteLength, form: coded.get(name) ?? source.locate(blob).form }] as const;
  });
  return { tensors: new Map(tensors.map((tensor) => [tensor.name, namesOf(tensor)])), blobs: new Map(blobs) };
}

/** What is to be kept of an open variant. */
export function packContents(source: Located, form: ContentsForm): VariantContents {
  return new PackedContents(source, form);
}

class PackedContents implements VariantContents {
  readonly file: FileStamp;
  readonly #form: ContentsForm;
  readonly #places: Float64Array;
  readonly #digests: Uint8Array;

  constructor(source: Located, form: ContentsForm) {
    this.file = source.file;
    this.#form = form;
    const blobs = servedBlobs([...source.tensors.values()]).map((blob) => source.locate(blob));
    const hasDigests = blobs.every(({ sha256 }) => sha256 !== null);
    this.#places = Float64Array.from(blobs.flatMap(({ offset, storedBytes }) => [offset, storedBytes]));
    this.#digests = hasDigests ? Buffer.from(blobs.map(({ sha256 }) => sha256).join(""), "hex") : new Uint8Array(0);
  }

  get tensors(): ContentsForm["tensors"] {
    return this.#form.tensors;
  }

  locate(name: string): StoredBlob {
    const blob = this.#form.blobs.get(name);
    assert(blob, `${this.file.path} was asked for the blob ${name}, which it does not list`);
    const { index, byteLength, form } = blob;
    const [offset, storedBytes] = this.#places.subarray(2 * index) as unknown as readonly [number, number];
    const isPlain = form.kind === "coded" && storedBytes === byteLength;
    return {
      name,
      byteLength,
      sha256: this.#digestOf(index),
      offset,
      storedBytes,
      form: isPlain ? { kind: "plain" } : form,
    };
  }

  reopen(): Promise<FileSource> {
    return FileSource.reopen(this.file);
  }

  #digestOf(index: number): string | null {
    if (this.#digests.length === 0) return null;
    return Buffer.from(this.#digests.subarray(index * digestBytes, (index + 1) * digestBytes)).toString("hex");
  }
}

function namesOf(tensor: DeltaTensor): TensorContents {
  const { kind, dtype } = tensor;
  assert(kind !== "exact", `${tensor.name} can only be restored`);
  if (kind === "absolute") return { kind, dtype, value: tensor.value.name };
  const extraRows = tensor.extraRows?.blob.name ?? null;
  if (kind === "unchanged") return { kind, dtype, extraRows };
  const factors = tensor.factors.map(({ down, up, ...form }) => ({ ...form, down: down.name, up: up.name }));
  const { planeDType } = tensor;
  return { kind, dtype, planeDType, planes: tensor.planes.map(({ name }) => name), factors, extraRows };
}
