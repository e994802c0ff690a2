// Operations that only training needs: attention in the open, whose parts can be differentiated, and derivatives. Each checks its
// operands and leaves the rest to `Graph.operation`. Everything here is f32, shapes in ggml's order.

import { type Graph, GraphError } from "./graph.js";
import type { Extents, Tensor } from "./tensor.js";

/**
 * `aᵀ · b` of every pair of matrices: a `[k, m, pages]`, b `[k, n, pages * repeats]`, where page p of b meets page
 * ⌊p / repeats⌋ of a, as query heads meet the keys that they share. → `[m, n, pages * repeats]`
 */
export function product(g: Graph, a: Tensor, b: Tensor): Tensor {
  const [k, m, pagesA, e3] = a.extents;
  const [kB, n, pagesB, f3] = b.extents;
  require("product", isFloat(a, b) && a.isContiguous && b.isContiguous, "both must be f32 without gaps", a, b);
  require("product", k === kB && e3 === 1 && f3 === 1 && pagesB % pagesA === 0, "shapes do not fit", a, b);
  return g.operation("product", [a, b], [m, n, pagesB, 1], (base, c) => base.mulMat(c, a.pointer, b.pointer));
}

/** Dimension i of x becomes dimension `axes[i]`, written out in that order. */
export function rearrange(g: Graph, x: Tensor, axes: readonly [number, number, number, number]): Tensor {
  require("rearrange", isFloat(x) && String([...axes].sort()) === "0,1,2,3", `cannot rearrange by [${axes}]`, x);
  const extents: number[] = [];
  axes.forEach((axis, dimension) => {
    extents[axis] = x.extents[dimension]!;
  });
  const [e0, e1, e2, e3] = extents as unknown as Extents;
  return g.operation("rearrange", [x], [e0, e1, e2, e3], (base, c) =>
    base.continuous(c, base.permute(c, x.pointer, ...axes), e0, e1, e2, e3),
  );
}

/** `[n, m]` → `[m, n]`, written out. */
export function transpose(g: Graph, x: Tensor): Tensor {
  return rearrange(g, x, [1, 0, 2, 3]);
}

/** The sum of each row: `[n, …]` → `[1, …]` */
export function sumRows(g: Graph, x: Tensor): Tensor {
  require("sumRows", isFloat(x), "x must be f32", x);
  const [, e1, e2, e3] = x.extents;
  return g.operation("sumRows", [x], [1, e1, e2, e3], (base, c) => base.sumRows(c, x.pointer));
}

/** `softmax(x * scale + mask)` of each row: x `[n, rows, pages]`, mask `[n, rows]` f32. → shape of x */
export function softMax(g: Graph, x: Tensor, mask: Tensor, scale: number): Tensor {
  require("softMax", isFloat(x, mask) && x.isContiguous && mask.isContiguous, "both must be f32 without gaps", x, mask);
  const fits = mask.extents[0] === x.extents[0] && mask.extents[1] === x.extents[1] && mask.extents[2] === 1;
  require("softMax", fits, "mask does not match", x, mask);
  return g.operation("softMax", [x, mask], x.extents, (base, c) => base.softMax(c, x.pointer, mask.pointer, scale, 0));
}

/** The gradient of {@link softMax}'s x, from its result's gradient and its result. → shape of both */
export function softMaxBack(g: Graph, gradient: Tensor, result: Tensor, scale: number): Tensor {
  requireAlike("softMaxBack", gradient, result);
  return g.operation("softMaxBack", [gradient, result], result.extents, (base, c) =>
    base.softMaxBack(c, gradient.pointer, result.pointer, scale, 0),
  );
}

/** The gradient of `rmsNorm`'s x, from its result's gradient and x. → shape of both */
export function rmsNormBack(g: Graph, gradient: Tensor, x: Tensor, eps: number): Tensor {
  requireAlike("rmsNormBack", gradient, x);
  return g.operation("rmsNormBack", [gradient, x], x.extents, (base, c) =>
    base.rmsNormBack(c, gradient.pointer, x.pointer, eps),
  );
}

/** The gradient of `silu`'s x, from its result's gradient and x. → shape of both */
export function siluBack(g: Graph, gradient: Tensor, x: Tensor): Tensor {
  requireAlike("siluBack", gradient, x);
  return g.operation("siluBack", [gradient, x], x.extents, (base, c) => base.siluBack(c, gradient.pointer, x.pointer));
}

const isFloat = (...tensors: Tensor[]) => tensors.every(({ dtype }) => dtype === "f32");

function requireAlike(op: string, a: Tensor, b: Tensor): void {
  const alike = String(a.extents) === String(b.extents) && a.isContiguous && b.isContiguous;
  require(op, isFloat(a, b) && alike, "both must be f32 of one shape without gaps", a, b);
}

function require(op: string, condition: boolean, problem: string, ...tensors: Tensor[]): void {
  if (!condition) throw new GraphError(op, problem, tensors);
}
