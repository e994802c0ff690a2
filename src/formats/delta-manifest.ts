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
//   original?  { sha256, header }                      of the fine-tune's model.safetensors: exact layers restore the file itself
//
//   record     { kind: "unchanged", dtype, shape, exact?, extraRows? }
//              { kind: "absolute", dtype, shape, sha256, exact? }
//              { kind: "planes", dtype, shape, planes?: { dtype, sha256: [one a plane], coded?: [one a plane] }, factors?, norm,
//                error, exact?, extraRows? }
//              { kind: "exact", dtype, shape, exact, extraRows? }
//   coded      bytes of the stored form where that is not the plane as it is, else null
//   factors    [{ rank, dtype, down: sha256, up: sha256 }, …]
//   exact      { sha256, blob?: { bytes, sha256 } }    of the whole tensor; of what turns the reference into it
//   extraRows  { count, sha256 }

import { InvalidFile } from "../core/index.js";
import { sha256 } from "../util/index.js";
import {
  blobOfExact,
  blobOfExtraRows,
  blobOfFactor,
  blobOfPlane,
  blobOfValue,
  blobsOf,
  type DeltaTensor,
  type ExactLayer,
  type ExtraRows,
  type FactorBlobs,
  type FloatDType,
  type MatrixShape,
  type PlanesTensor,
  storedBytes,
} from "./delta-tensor.js";
import { Fields, isExtent, type Json } from "./manifest-fields.js";

const FORMAT = "kindred-delta";
const VERSION = 1;

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
  /** The file that the exact layers restore, where it is known how it began. */
  readonly original?: OriginalFile;
}

/** A model.safetensors as it was: its tensors' bytes after this header give the file again. */
export interface OriginalFile {
  /** Of the whole file, in hex. */
  readonly sha256: string;
  /** The JSON header as it stands in the file, its padding included. */
  readonly header: string;
}

/** Elements of all parameters of a variant, and bytes that its blobs take in the file, before filling up. */
export function totalsOf(tensors: Iterable<DeltaTensor>): { readonly parameters: number; readonly bytes: number } {
  let parameters = 0;
  let bytes = 0;
  for (const tensor of tensors) {
    parameters += tensor.shape.reduce((product, extent) => product * extent, 1);
    for (const blob of blobsOf(tensor)) bytes += storedBytes(blob);
  }
  return { parameters, bytes };
}

export function printManifest({ codec, base, tensors, files, original }: DeltaManifest): string {
  const content = {
    format: FORMAT,
    version: VERSION,
    codec,
    base,
    tensors: Object.fromEntries([...tensors.values()].map((tensor) => [tensor.name, printTensor(tensor)])),
    files: Object.fromEntries(files),
    totals: totalsOf(tensors.values()),
    ...(original && { original }),
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
    ...(root.json.original !== undefined && { original: parseOriginal(root.record("original")) }),
  };
}

function printTensor(tensor: DeltaTensor): Json {
  const { kind, dtype, shape } = tensor;
  const exact = tensor.exact ? { exact: printExact(tensor.exact) } : {};
  if (kind === "absolute") return { kind, dtype, shape, sha256: tensor.value.sha256, ...exact };
  const extraRows = tensor.extraRows
    ? { extraRows: { count: tensor.extraRows.count, sha256: tensor.extraRows.blob.sha256 } }
    : {};
  if (kind !== "planes") return { kind, dtype, shape, ...exact, ...extraRows };
  const { norm, error } = tensor;
  return { kind, dtype, shape, ...printPlanes(tensor), ...printFactors(tensor), norm, error, ...exact, ...extraRows };
}

function printPlanes({ planeDType, planes }: PlanesTensor): Json {
  if (planes.length === 0) return {};
  const sha256 = planes.map((plane) => plane.sha256);
  const coded = planes.map(({ code }) => code?.byteLength ?? null);
  return { planes: { dtype: planeDType, sha256, ...(planes.some(({ code }) => code) && { coded }) } };
}

function printFactors({ factors }: PlanesTensor): Json {
  if (factors.length === 0) return {};
  return {
    factors: factors.map(({ rank, dtype, down, up }) => ({ rank, dtype, down: down.sha256, up: up.sha256 })),
  };
}

function printExact({ sha256, blob }: ExactLayer): Json {
  return { sha256, ...(blob && { blob: { bytes: blob.byteLength, sha256: blob.sha256 } }) };
}

function parseTensor(name: string, fields: Fields): DeltaTensor {
  const kind = fields.oneOf("kind", ["unchanged", "absolute", "planes", "exact"]);
  const dtype = fields.oneOf("dtype", ["f32", "f16", "bf16"]);
  const shape = fields.shape("shape");
  const exact = fields.json.exact === undefined ? {} : { exact: parseExact(name, fields) };
  if (kind === "absolute") {
    return { name, kind, dtype, shape, value: blobOfValue(name, dtype, shape, fields.digest("sha256")), ...exact };
  }
  const extraRows = parseExtraRows(name, dtype, shape, fields);
  if (kind === "exact") return { name, kind, dtype, shape, extraRows, exact: parseExact(name, fields) };
  if (kind === "unchanged") return { name, kind, dtype, shape, extraRows, ...exact };

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
    ...parsePlanes(name, covered, fields),
    factors,
    extraRows,
    norm: fields.magnitude("norm"),
    error: fields.magnitude("error"),
    ...exact,
  };
}

function parsePlanes(name: string, shape: MatrixShape, parent: Fields): Pick<PlanesTensor, "planeDType" | "planes"> {
  if (parent.json.planes === undefined) return { planeDType: null, planes: [] };
  const fields = parent.record("planes");
  const dtype = fields.oneOf("dtype", ["q1_0", "tq1_0", "q4_0", "f16"]);
  const digests = fields.digests("sha256");
  const { coded } = fields.json;
  if (coded !== undefined && !(Array.isArray(coded) && coded.length === digests.length))
    throw fields.wrong("coded", "a list of byte lengths or null, one for each plane");
  const planes = digests.map((sha256, index) => {
    const plain = blobOfPlane(name, index, dtype, shape, sha256);
    const byteLength: unknown = coded?.[index] ?? null;
    if (byteLength === null) return plain;
    if (!isExtent(byteLength) || byteLength >= plain.byteLength)
      throw fields.wrong("coded", `byte lengths below the plane's, which are ${plain.byteLength}, or null`);
    return { ...plain, code: { byteLength, dtype, shape } };
  });
  return { planeDType: dtype, planes };
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

function parseExact(name: string, parent: Fields): ExactLayer {
  const fields = parent.record("exact");
  const sha256 = fields.digest("sha256");
  if (fields.json.blob === undefined) return { sha256, blob: null };
  const blob = fields.record("blob");
  const { bytes } = blob.json;
  if (!isExtent(bytes)) throw blob.wrong("bytes", "a number of bytes");
  return { sha256, blob: blobOfExact(name, bytes, blob.digest("sha256")) };
}

function parseOriginal(fields: Fields): OriginalFile {
  return { sha256: fields.digest("sha256"), header: fields.text("header") };
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
