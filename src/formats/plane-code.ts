// A plane in fewer bytes than ggml's blocks take: what says nothing, such as the padding of rows, costs nothing then.
//
// Every byte of a plane belongs to a context, by its place in its block and its row:
//
//   0            bytes of codes, in blocks that are full
//   1, 2         the lower and the upper byte of a scale, in blocks that are full
//   3 + p        byte p of the last block of a row, where columns do not fill it
//
// and a context has one of four forms: RAW, its bytes as they are; OWN, coded with a distribution of its own; CODES, coded
// with that of context 0; BEFORE, coded with that of the last OWN context before it. Rows follow each other in parts, as many whole rows as have up to 65536 coded bytes, at least one.
//
//   0             4             4 + n
//   ┌─────────────┬─────────────┬────────┬────────┬──── ─┬────────────────────────────┐
//   │ n, u32      │ header      │ part 0 │ part 1 │ …    │ raw bytes of all rows      │
//   └─────────────┴─────────────┴────────┴────────┴──── ─┴────────────────────────────┘
//
// Parts are symbols as entropy/rans.ts draws them. The header is bits (entropy/bits.ts): for each context its form, 2; the
// distributions of the OWN contexts in order; the words of each part in gamma code.

import {
  BitReader,
  BitWriter,
  CorruptCode,
  entropyBits,
  SYMBOLS_MAX,
  SymbolDecoder,
  SymbolEncoder,
  SymbolModel,
} from "../entropy/index.js";
import { assert, sha256 } from "../util/index.js";
import { blobOfPlane, type DeltaBlob, type MatrixShape, type PlaneCodeForm, type PlaneDType } from "./delta-tensor.js";
import {
  contextCount,
  distributionsOf,
  type Form,
  forms,
  RowLayout,
  rowContexts,
  runsOf,
  scatterRows,
} from "./plane-code-layout.js";

/** A plane is stored coded where that saves at least this part of it. */
export const CODE_SAVING_MIN = 0.05;
/** And a context of it where that saves at least this part of that. */
const CONTEXT_SAVING_MIN = 0.125;
/** Contexts whose bytes differ are coded where all of them save at least this part of the plane: decoding such a byte takes several times as long as reading it. */
const VARYING_SAVING_MIN = 0.1;

/** A plane as it is to be stored, plain or coded, and the blob that says so. */
export function storePlane(
  name: string,
  index: number,
  dtype: PlaneDType,
  shape: MatrixShape,
  bytes: Uint8Array,
): { readonly blob: DeltaBlob; readonly stored: Uint8Array } {
  const stored = encodePlaneCode(dtype, shape, bytes) ?? bytes;
  const plain = blobOfPlane(name, index, dtype, shape, sha256(stored));
  if (stored === bytes) return { blob: plain, stored };
  return { blob: { ...plain, code: { byteLength: stored.length, dtype, shape } }, stored };
}

/** The coded form of a plane; null where it saves less than {@link CODE_SAVING_MIN}. */
export function encodePlaneCode(dtype: PlaneDType, shape: MatrixShape, bytes: Uint8Array): Uint8Array | null {
  const contexts = rowContexts(dtype, shape.cols);
  const counts = countBytes(bytes, contexts);
  const chosen = chooseForms(counts, bytes.length);
  const layout = new RowLayout(contexts, chosen);
  const byteMax = Math.floor(bytes.length * (1 - CODE_SAVING_MIN));
  if (layout.raw.length * shape.rows > byteMax) return null;

  const model = SymbolModel.fit(countsOfDistributions(counts, chosen));
  const encoder = new SymbolEncoder(model);
  const writer = new BitWriter();
  for (const form of chosen) writer.write(forms.indexOf(form), 2);
  model.write(writer);
  const parts: Uint8Array[] = [];
  for (const { firstRow, rows } of layout.parts(shape.rows)) {
    const part = encoder.encode(
      layout.gather(bytes, firstRow, rows),
      layout.contextsOf(rows),
      layout.coded.length * rows,
    );
    writer.writeGamma(part.length / 4);
    parts.push(part);
  }
  const header = writer.finish();
  const code = new Uint8Array(
    4 + header.length + parts.reduce((sum, { length }) => sum + length, 0) + layout.raw.length * shape.rows,
  );
  if (code.length > byteMax) return null;
  new DataView(code.buffer).setUint32(0, header.length, true);
  let at = 4;
  for (const part of [header, ...parts]) {
    code.set(part, at);
    at += part.length;
  }
  for (let row = 0; row < shape.rows; row++) {
    for (const place of layout.raw) code[at++] = bytes[row * contexts.length + place]!;
  }
  return code;
}

/** Decodes a plane as {@link decodePlaneCode} does: the same bytes, the same errors. */
export type DecodePlane = typeof decodePlaneCode;

/**
 * Decodes what {@link encodePlaneCode} wrote into `into`, the whole plane.
 *
 * @throws {CorruptCode} if it is no code of such a plane
 */
export function decodePlaneCode(
  { dtype, shape }: Pick<PlaneCodeForm, "dtype" | "shape">,
  code: Uint8Array,
  into: Uint8Array,
): void {
  const contexts = rowContexts(dtype, shape.cols);
  assert(into.length === contexts.length * shape.rows, `A plane of ${into.length} bytes is not what is coded`);
  if (code.length < 4) throw new CorruptCode("it has no header");
  const headerBytes = new DataView(code.buffer, code.byteOffset).getUint32(0, true);
  if (4 + headerBytes > code.length) throw new CorruptCode("its header is cut off");
  const reader = new BitReader(code.subarray(4, 4 + headerBytes));
  const chosen = Array.from({ length: contextCount(contexts) }, () => forms[reader.read(2)]!);
  const layout = new RowLayout(contexts, chosen);
  const decoder = new SymbolDecoder(SymbolModel.read(reader, Math.max(1, layout.ownContexts)));

  let at = 4 + headerBytes;
  for (const { firstRow, rows } of layout.parts(shape.rows)) {
    const end = at + reader.readGamma() * 4;
    if (end > code.length) throw new CorruptCode("its parts are cut off");
    const symbols = new Uint8Array(layout.coded.length * rows);
    decoder.decode(code.subarray(at, end), layout.contextsOf(rows), symbols, symbols.length);
    layout.scatter(symbols, into, firstRow, rows);
    at = end;
  }
  if (code.length - at !== layout.raw.length * shape.rows) throw new CorruptCode("its raw bytes are cut off");
  scatterRows(code.subarray(at), runsOf(layout.raw), into, {
    rowBytes: contexts.length,
    firstRow: 0,
    rows: shape.rows,
  });
}

/** How often each byte comes in each context. */
function countBytes(bytes: Uint8Array, contexts: Uint8Array): readonly Uint32Array[] {
  const counts = Array.from({ length: contextCount(contexts) }, () => new Uint32Array(SYMBOLS_MAX));
  const ofPlace = Array.from(contexts, (context) => counts[context]!);
  for (let row = 0; row < bytes.length; row += contexts.length) {
    for (let place = 0; place < contexts.length; place++) ofPlace[place]![bytes[row + place]!]! += 1;
  }
  return counts;
}

/** Forms of all contexts, with contexts whose bytes differ where that pays. */
function chooseForms(counts: readonly Uint32Array[], planeBytes: number): readonly Form[] {
  const fixed = leastForms(counts, (own) => own.filter((count) => count > 0).length < 2);
  const varying = leastForms(counts, () => true);
  return bitsOf(counts, fixed) - bitsOf(counts, varying) >= 8 * planeBytes * VARYING_SAVING_MIN ? varying : fixed;
}

/** Bits of a plane's code without its header. */
function bitsOf(counts: readonly Uint32Array[], chosen: readonly Form[]): number {
  const ofDistributions = countsOfDistributions(counts, chosen);
  const raw = counts.filter((_, context) => chosen[context] === "raw").map(bytesIn);
  return SymbolModel.fit(ofDistributions).bitsFor(ofDistributions) + 8 * raw.reduce((sum, bytes) => sum + bytes, 0);
}

/** The form of each context that takes the fewest bits, its distribution included; one where less than {@link CONTEXT_SAVING_MIN} is saved stays raw, and one that may not be coded. */
function leastForms(counts: readonly Uint32Array[], mayBeCoded: (own: Uint32Array) => boolean): readonly Form[] {
  const chosen: Form[] = [];
  let codes: Uint32Array | undefined;
  let before: Uint32Array | undefined;
  for (const [context, own] of counts.entries()) {
    const bits: Record<Form, number> = {
      raw: mayBeCoded(own) ? 8 * bytesIn(own) * (1 - CONTEXT_SAVING_MIN) : 0,
      own: costOf(own),
      codes: codes ? addedBits(codes, own) : Number.POSITIVE_INFINITY,
      before: before ? addedBits(before, own) : Number.POSITIVE_INFINITY,
    };
    const form = forms.reduce((least, other) => (bits[other] < bits[least] ? other : least));
    chosen.push(form);
    if (form === "own") before = own.slice();
    else if (form === "before") for (const [i, count] of own.entries()) before![i]! += count;
    if (context === 0 && form === "own") codes = own;
  }
  return chosen;
}

const bytesIn = (counts: Uint32Array) => counts.reduce((sum, count) => sum + count, 0);

/** What `own` adds to a distribution that it shares. */
function addedBits(shared: Uint32Array, own: Uint32Array): number {
  return entropyBits(shared.map((count, i) => count + own[i]!)) - entropyBits(shared);
}

/** Bits of bytes that come so often, with the distribution that codes them. */
function costOf(counts: Uint32Array): number {
  const model = SymbolModel.fit(counts);
  const writer = new BitWriter();
  model.write(writer);
  return model.bitsFor(counts) + writer.finish().length * 8;
}

/** The counts of each distribution; of one that stays empty where there are none. */
function countsOfDistributions(counts: readonly Uint32Array[], chosen: readonly Form[]): Uint32Array {
  const distributions = distributionsOf(chosen);
  const sums = new Uint32Array(Math.max(1, chosen.filter((form) => form === "own").length) * SYMBOLS_MAX);
  for (const [context, form] of chosen.entries()) {
    const row = distributions[context]! * SYMBOLS_MAX;
    if (form !== "raw") for (let i = 0; i < SYMBOLS_MAX; i++) sums[row + i]! += counts[context]![i]!;
  }
  return sums;
}
