// delta.json, one object:
//
//   format     "kindred-delta"
//   version    1
//   codec      { name, options }                       what made the planes; reading them needs only their dtype
//   base       { name, fingerprint }                   the checkpoint that the differences are to
//   tensors    { NAME: record, … }                     every parameter of the variant, in slot order
//   files      { "config.json": sha256, … }            the files beside this one, without delta.safetensors
//   totals     { parameters, bytes }                   elements of the variant; bytes of all blobs
//   checksum   SHA-256 of this object without this field, printed as compact JSON
//
//   record     { kind: "unchanged", dtype, shape, extraRows? }
//              { kind: "absolute", dtype, shape, sha256 }
//              { kind: "planes", dtype, shape, planes?: { dtype, sha256: [one a plane] }, factors?, norm, error, extraRows? }
//   factors    [{ rank, dtype, down: sha256, up: sha256 }, …]
//   extraRows  { count, sha256 }

import { InvalidFile } from "../core/index.js";
import { isRecord, sha256 } from "../util/index.js";
import { wrongField } from "./config-fields.js";
import {
  blobOfExtraRows,
  blobOfFactor,
  blobOfPlane,
  blobOfValue,
  blobsOf,
  type DeltaTensor,
  type ExtraRows,
  type FactorBlobs,
  type FloatDType,
  type MatrixShape,
  type PlanesTensor,
} from "./delta-tensor.js";

const FORMAT = "kindred-delta";
const VERSION = 1;

type Json = Readonly<Record<string, unknown>>;

/** Settings of a codec, such as its number of planes. */
export type CodecOptions = Readonly<Record<string, string | number | boolean>>;

/** What delta.json says. */
export interface DeltaManifest {
  readonly codec: { readonly name: string; readonly options: CodecOptions };
  readonly base: { readonly name: string; readonly fingerprint: string };
  /** By name, in slot order. */
  readonly tensors: ReadonlyMap<string, DeltaTensor>;
  /** SHA-256 (hex) of each file beside it, by file name. */
  readonly files: ReadonlyMap<string, string>;
}

/** Elements of all parameters of a variant, and bytes of all blobs that describe it. */
export function totalsOf(tensors: Iterable<DeltaTensor>): { readonly parameters: number; readonly bytes: number } {
  let parameters = 0;
  let bytes = 0;
  for (const tensor of tensors) {
    parameters += tensor.shape.reduce((product, extent) => product * extent, 1);
    for (const { byteLength } of blobsOf(tensor)) bytes += byteLength;
  }
  return { parameters, bytes };
}

export function printManifest({ codec, base, tensors, files }: DeltaManifest): string {
  const content = {
    format: FORMAT,
    version: VERSION,
    codec,
    base,
    tensors: Object.fromEntries([...tensors.values()].map((tensor) => [tensor.name, printTensor(tensor)])),
    files: Object.fromEntries(files),
    totals: totalsOf(tensors.values()),
  };
  return `${JSON.stringify({ ...content, checksum: checksumOf(content) }, null, 1)}\n`;
}

/** @throws {InvalidFile} naming the first field that is not as drawn above */
export function parseManifest(path: string, text: string): DeltaManifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new InvalidFile(path, `it is not valid JSON (${(cause as Error).message})`, { cause });
  }
  const root = new Fields(path, "", json);
  if (root.json.format !== FORMAT) throw root.wrong("format", `"${FORMAT}"`);
  if (root.json.version !== VERSION) throw root.wrong("version", `${VERSION}, the only one that this program reads`);
  const { checksum, ...content } = root.json;
  if (checksum !== checksumOf(content)) {
    throw new InvalidFile(path, "its content does not match its checksum: it is damaged or was edited");
  }

  const codec = root.record("codec");
  const base = root.record("base");
  const tensors = new Map(
    Object.entries(root.record("tensors").json).map(([name, record]) => [
      name,
      parseTensor(name, new Fields(path, `tensors["${name}"].`, record)),
    ]),
  );
  const totals = root.record("totals");
  const { parameters, bytes } = totalsOf(tensors.values());
  if (totals.json.parameters !== parameters)
    throw totals.wrong("parameters", `${parameters}, as its tensors sum up to`);
  if (totals.json.bytes !== bytes) throw totals.wrong("bytes", `${bytes}, as its tensors sum up to`);
  return {
    codec: { name: codec.text("name"), options: parseOptions(codec.record("options")) },
    base: { name: base.text("name"), fingerprint: base.digest("fingerprint") },
    tensors,
    files: parseFiles(root.record("files")),
  };
}

function printTensor(tensor: DeltaTensor): Json {
  const { kind, dtype, shape } = tensor;
  if (kind === "absolute") return { kind, dtype, shape, sha256: tensor.value.sha256 };
  const extraRows = tensor.extraRows
    ? { extraRows: { count: tensor.extraRows.count, sha256: tensor.extraRows.blob.sha256 } }
    : {};
  if (kind === "unchanged") return { kind, dtype, shape, ...extraRows };
  const sha256 = tensor.planes.map((plane) => plane.sha256);
  const planes = sha256.length > 0 ? { planes: { dtype: tensor.planeDType, sha256 } } : {};
  const list = tensor.factors.map(({ rank, dtype: own, down, up }) => ({
    rank,
    dtype: own,
    down: down.sha256,
    up: up.sha256,
  }));
  const factors = list.length > 0 ? { factors: list } : {};
  return { kind, dtype, shape, ...planes, ...factors, norm: tensor.norm, error: tensor.error, ...extraRows };
}

function parseTensor(name: string, fields: Fields): DeltaTensor {
  const kind = fields.oneOf("kind", ["unchanged", "absolute", "planes"]);
  const dtype = fields.oneOf("dtype", ["f32", "f16", "bf16"]);
  const shape = fields.shape("shape");
  if (kind === "absolute") {
    return { name, kind, dtype, shape, value: blobOfValue(name, dtype, shape, fields.digest("sha256")) };
  }
  const extraRows = parseExtraRows(name, dtype, shape, fields);
  if (kind === "unchanged") return { name, kind, dtype, shape, extraRows };

  const [rows, cols] = shape;
  if (shape.length !== 2 || rows === undefined || cols === undefined)
    throw fields.wrong("shape", "two extents for planes");
  const covered = { rows: rows - (extraRows?.count ?? 0), cols };
  const factors = parseFactors(name, covered, fields);
  return {
    name,
    kind,
    dtype,
    shape,
    ...parsePlanes(name, covered, fields, { optional: factors.length > 0 }),
    factors,
    extraRows,
    norm: fields.magnitude("norm"),
    error: fields.magnitude("error"),
  };
}

function parsePlanes(
  name: string,
  covered: MatrixShape,
  parent: Fields,
  { optional }: { optional: boolean },
): Pick<PlanesTensor, "planeDType" | "planes"> {
  if (optional && parent.json.planes === undefined) return { planeDType: null, planes: [] };
  const fields = parent.record("planes");
  const planeDType = fields.oneOf("dtype", ["q1_0", "tq1_0", "q4_0", "f16"]);
  const planes = fields.digests("sha256").map((sha256, index) => blobOfPlane(name, index, planeDType, covered, sha256));
  return { planeDType, planes };
}

function parseFactors(name: string, covered: MatrixShape, parent: Fields): readonly FactorBlobs[] {
  if (parent.json.factors === undefined) return [];
  const kinds = new Set<string>();
  return parent.records("factors").map((fields, index) => {
    const dtype = fields.oneOf("dtype", ["f16", "q8_0", "q4_0"]);
    const { rank } = fields.json;
    if (!isExtent(rank)) throw fields.wrong("rank", "a whole number from 1");
    if (kinds.has(`${dtype} ${rank}`)) throw fields.wrong("rank", "another one than before for the same dtype");
    kinds.add(`${dtype} ${rank}`);
    const blob = (side: "down" | "up") =>
      blobOfFactor(name, index, side, { dtype, rank }, covered, fields.digest(side));
    return { dtype, rank, down: blob("down"), up: blob("up") };
  });
}

function parseExtraRows(name: string, dtype: FloatDType, shape: readonly number[], parent: Fields): ExtraRows | null {
  if (parent.json.extraRows === undefined) return null;
  const fields = parent.record("extraRows");
  const { count } = fields.json;
  const [rows, cols] = shape;
  if (shape.length !== 2 || rows === undefined || cols === undefined)
    throw parent.wrong("extraRows", "none for a vector");
  if (!isExtent(count) || count >= rows) throw fields.wrong("count", `a whole number from 1 to below ${rows}`);
  return { count, blob: blobOfExtraRows(name, dtype, { rows: count, cols }, fields.digest("sha256")) };
}

function parseOptions(fields: Fields): CodecOptions {
  for (const [name, value] of Object.entries(fields.json)) {
    if (!["string", "number", "boolean"].includes(typeof value))
      throw fields.wrong(name, "text, a number, true or false");
  }
  return fields.json as CodecOptions;
}

function parseFiles(fields: Fields): ReadonlyMap<string, string> {
  return new Map(Object.keys(fields.json).map((name) => [name, fields.digest(name)]));
}

function checksumOf(content: Json): string {
  return sha256(JSON.stringify(content));
}

function isExtent(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

function isDigest(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}

/** Typed access to one object of delta.json. */
class Fields {
  readonly json: Json;
  readonly #path: string;
  /** Dotted place of the object in the file, with the dot. */
  readonly #prefix: string;

  constructor(path: string, prefix: string, json: unknown) {
    this.#path = path;
    this.#prefix = prefix;
    if (!isRecord(json)) throw new InvalidFile(path, `${prefix.slice(0, -1) || "it"} is not a JSON object`);
    this.json = json;
  }

  record(name: string): Fields {
    return new Fields(this.#path, `${this.#prefix}${name}.`, this.json[name]);
  }

  records(name: string): readonly Fields[] {
    const value = this.json[name];
    if (!Array.isArray(value) || value.length === 0) throw this.wrong(name, "a list of objects");
    return value.map((item, index) => new Fields(this.#path, `${this.#prefix}${name}[${index}].`, item));
  }

  text(name: string): string {
    const value = this.json[name];
    if (typeof value !== "string" || value === "") throw this.wrong(name, "text");
    return value;
  }

  oneOf<T extends string>(name: string, choices: readonly T[]): T {
    const chosen = choices.find((choice) => choice === this.json[name]);
    if (chosen === undefined) throw this.wrong(name, `one of ${choices.join(", ")}`);
    return chosen;
  }

  digest(name: string): string {
    const value = this.json[name];
    if (!isDigest(value)) throw this.wrong(name, "a SHA-256 in hexadecimal");
    return value;
  }

  digests(name: string): readonly string[] {
    const value = this.json[name];
    if (!Array.isArray(value) || value.length === 0 || !value.every(isDigest)) {
      throw this.wrong(name, "a list of SHA-256 in hexadecimal, one for each plane");
    }
    return value;
  }

  shape(name: string): readonly number[] {
    const value = this.json[name];
    if (!Array.isArray(value) || value.length === 0 || !value.every(isExtent))
      throw this.wrong(name, "a list of extents");
    return value;
  }

  magnitude(name: string): number {
    const value = this.json[name];
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0)
      throw this.wrong(name, "a number of at least 0");
    return value;
  }

  wrong(name: string, expected: string): InvalidFile {
    return wrongField(this.#path, `${this.#prefix}${name}`, this.json[name], expected);
  }
}
