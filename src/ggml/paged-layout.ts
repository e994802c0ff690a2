// Where tensors lie in an arena whose memory is had in pages. Tensors of one stack have as many entries, their last extents, as each
// other; entry i of all of them lies side by side, in pages of its own:
//
//   page                    page                                     page
//   ┌────────┬──────┬──────┬────────┬──────┬──────┬─── … ───────────┬──────────────────┬─── …
//   │ a[0]   │ b[0] │      │ a[1]   │ b[1] │      │    a, b of one  │ c, of no stack   │
//   └────────┴──────┴──────┴────────┴──────┴──────┴─── … stack ─────┴──────────────────┴─── …
//   └─── strideBytes ──────┘
//
// So the memory of entry i is had, and given back, whole. A tensor of no stack lies as it would anywhere, from a page's start.

import type { DType } from "../core/index.js";
import { alignUp, assert } from "../util/index.js";
import { contiguousStrides, type Extents, extentsOf, type ShapeLike } from "./tensor.js";

/** A tensor to be placed. The last dimension of one in a stack counts entries. */
export interface PlacedForm {
  readonly dtype: DType;
  readonly shape: ShapeLike;
  readonly stack?: string | undefined;
}

/** Where a stack lies. */
export interface Stack {
  readonly offset: number;
  readonly strideBytes: number;
  readonly entries: number;
}

/** Where everything lies, in bytes from the arena's start. */
export interface PagedLayout {
  readonly tensors: readonly { readonly offset: number; readonly strides: Extents }[];
  readonly stacks: ReadonlyMap<string, Stack>;
  readonly byteLength: number;
}

/** What ggml wants tensors to be aligned to. */
const tensorAlignment = 32;

/** Bytes that an entry of a stack takes whose tensors have entries of so many bytes. */
export function stackEntryBytes(tensors: Iterable<number>, page: number): number {
  let bytes = 0;
  for (const own of tensors) bytes = alignUp(bytes, tensorAlignment) + own;
  return alignUp(bytes, page);
}

/** Lays tensors out in their order, a stack where its first tensor comes. */
export function pagedLayout(forms: readonly PlacedForm[], page: number): PagedLayout {
  const stacks = new Map<string, Stack>();
  const tensors: { offset: number; strides: Extents }[] = [];
  const filled = new Map<string, number>();
  let end = 0;
  for (const form of forms) {
    const { dtype, shape, stack: name } = form;
    const packed = contiguousStrides(dtype, extentsOf(shape));
    if (name === undefined) {
      tensors.push({ offset: end, strides: packed });
      end = alignUp(end + packed[3] * (shape[3] ?? 1), page);
      continue;
    }
    let stack = stacks.get(name);
    if (!stack) {
      const entries = forms.filter((other) => other.stack === name).map(entryBytes);
      stack = { offset: end, strideBytes: stackEntryBytes(entries, page), entries: shape.at(-1)! };
      stacks.set(name, stack);
      end += stack.entries * stack.strideBytes;
    }
    assert(shape.at(-1) === stack.entries, `a tensor of stack ${name} has another number of entries`);
    const at = alignUp(filled.get(name) ?? 0, tensorAlignment);
    filled.set(name, at + entryBytes(form));
    tensors.push({ offset: stack.offset + at, strides: stackedStrides(form, stack.strideBytes) });
  }
  return { tensors, stacks, byteLength: end };
}

/** What memory is had and given back whole: entries of stacks, and of tensors of none. */
export function* pagedEntries(
  forms: readonly PlacedForm[],
  { tensors, stacks }: PagedLayout,
): Iterable<{ readonly offset: number; readonly byteLength: number }> {
  for (const { offset, strideBytes, entries } of stacks.values()) {
    for (let i = 0; i < entries; i++) yield { offset: offset + i * strideBytes, byteLength: strideBytes };
  }
  for (const [index, form] of forms.entries()) {
    if (form.stack !== undefined) continue;
    const [{ offset }, byteLength] = [tensors[index]!, entryBytes(form)];
    for (let i = 0; i < form.shape.at(-1)!; i++) yield { offset: offset + i * byteLength, byteLength };
  }
}

/** Bytes of one entry of a tensor. */
function entryBytes({ dtype, shape }: PlacedForm): number {
  return contiguousStrides(dtype, extentsOf(shape))[shape.length - 1]!;
}

/** Strides of a tensor with gaps between its entries. */
function stackedStrides({ dtype, shape }: PlacedForm, strideBytes: number): Extents {
  const [s0, s1] = contiguousStrides(dtype, extentsOf(shape));
  assert(shape.length === 2 || shape.length === 3, "entries of a stack are vectors or matrices");
  const all = strideBytes * shape.at(-1)!;
  return shape.length === 2 ? [s0, strideBytes, all, all] : [s0, s1, strideBytes, all];
}
