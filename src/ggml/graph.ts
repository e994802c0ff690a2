import { type DType, dtypes, KindredError, NativeError } from "../core/index.js";
import { assert } from "../util/index.js";
import type { Device } from "./device.js";
import type { GraphMemory } from "./graph-memory.js";
import type { Kernels } from "./kernels.js";
import type { BaseFunctions, Pointer } from "./signatures.js";
import { type Extents, extentsOf, type ShapeLike, Tensor } from "./tensor.js";

/** An operation was given tensors that do not fit it. Thrown before ggml, which would end the process, sees them. */
export class GraphError extends KindredError {
  constructor(op: string, problem: string, tensors: readonly Tensor[]) {
    super(
      "graph_error",
      500,
      `Cannot build ${op}: ${problem}${tensors.length > 0 ? `; got ${tensors.map(String).join(" and ")}` : ""}`,
      { details: { op } },
    );
  }
}

/** Rotary position parameters, as `ggml_rope_ext` takes them. */
export interface Rope {
  readonly dims: number;
  readonly base: number;
  /** Multiplies positions; 1 / factor of linear scaling. */
  readonly scale: number;
  /** Divides each frequency; `[dims / 2]`. */
  readonly factors: Tensor | undefined;
}

const statusNames: Readonly<Record<string, string>> = { "-2": "out of memory", "-1": "failed", "1": "aborted" };
/** GGML_ROPE_TYPE_NEOX: halves are rotated against each other, as Hugging Face lays out queries and keys. */
const ropeHalves = 2;

/**
 * Builds one forward pass, operation by operation, and runs it as often as its shapes stay. Shapes are in ggml's order,
 * fastest dimension first, and are checked here. Inputs must be written before every `compute`, for ggml reuses their memory.
 */
export class Graph implements Disposable {
  readonly #device: Device;
  readonly #context: Pointer;
  readonly #graph: Pointer;
  readonly #tensorsMax: number;
  readonly #adoption: { release(): void };
  readonly #memo = new Map<string, Tensor>();
  /** Everything the graph has to do with: inputs, results, and tensors of arenas that are operands. */
  readonly #tensors = new Set<Pointer>();
  #allocated = false;
  #disposed = false;

  /** @param options.tensorsMax inputs, operations and operands from arenas that it may hold in all */
  constructor(device: Device, options: { tensorsMax: number }) {
    const { base } = device.library;
    this.#device = device;
    this.#tensorsMax = options.tensorsMax;
    const bytes = base.tensorOverhead() * options.tensorsMax + Number(base.graphOverhead(options.tensorsMax, false));
    const context = base.init({ mem_size: bytes, mem_buffer: null, no_alloc: true });
    if (!context) throw new NativeError(`Cannot begin a graph of ${options.tensorsMax} tensors: out of host memory`);
    this.#context = context;
    this.#graph = base.newGraph(context, options.tensorsMax, false);
    this.#adoption = device.adopt(this);
  }

  /** What custom operations are made of on this device, if anything. */
  get kernels(): Kernels | undefined {
    return this.#device.kernels;
  }

  /** Memory to be written before each `compute`. */
  input(name: string, dtype: DType, shape: ShapeLike): Tensor {
    const extents = extentsOf(shape);
    this.#require(
      "input",
      extents[0] % dtypes[dtype].blockSize === 0,
      `a row of ${extents[0]} does not fill ${dtype} blocks`,
    );
    return this.#node(name, [], { dtype, extents }, (base, context) => {
      const pointer = base.newTensor(context, dtypes[dtype].id, 4, BigInt64Array.from(extents, BigInt));
      base.setInput(pointer);
      base.expand(this.#graph, pointer); // so that it has memory to be written to, whether or not an operation takes it
      return pointer;
    });
  }

  /** Has `tensor` computed, and keeps it readable after `compute`. */
  output(tensor: Tensor): void {
    this.#device.library.base.setOutput(tensor.pointer);
    this.expand(tensor);
  }

  /** Has `tensor` computed before what is added later: for writes that no later operation takes as an operand. */
  expand(tensor: Tensor): void {
    this.#device.library.base.expand(this.#graph, tensor.pointer);
  }

  /** `a + b`, with b repeated along dimensions where it has fewer. → shape of a */
  add(a: Tensor, b: Tensor): Tensor {
    this.#repeats("add", a, b);
    return this.#node("add", [a, b], { extents: a.extents }, (base, c) => base.add(c, a.pointer, b.pointer));
  }

  /** `a * b`, elementwise, with b repeated along dimensions where it has fewer. → shape of a */
  mul(a: Tensor, b: Tensor): Tensor {
    this.#repeats("mul", a, b);
    return this.#node("mul", [a, b], { extents: a.extents }, (base, c) => base.mul(c, a.pointer, b.pointer));
  }

  /** Each row divided by its root mean square. → shape of x */
  rmsNorm(x: Tensor, eps: number): Tensor {
    this.#require("rmsNorm", x.dtype === "f32", "x must be f32", x);
    return this.#node("rmsNorm", [x], { extents: x.extents }, (base, c) => base.rmsNorm(c, x.pointer, eps));
  }

  /** `W · x`: W `[in, out]`, x `[in, rows]` f32. → `[out, rows]` */
  mulMat(w: Tensor, x: Tensor): Tensor {
    this.#factors("mulMat", w, x);
    this.#require("mulMat", w.extents[2] === 1 && w.extents[3] === 1, "weights must be a matrix", w, x);
    const [, rows, e2, e3] = x.extents;
    const extents: Extents = [w.extents[1], rows, e2, e3];
    return this.#node("mulMat", [w, x], { extents }, (base, c) => base.mulMat(c, w.pointer, x.pointer));
  }

  /** Row r of x times matrix `ids[r]` of the pool: pool `[in, out, slots]`, x `[in, rows]` f32, ids `[rows]` i32. → `[out, rows]` */
  mulMatId(pool: Tensor, x: Tensor, ids: Tensor): Tensor {
    this.#factors("mulMatId", pool, x);
    this.#require("mulMatId", pool.extents[3] === 1 && isMatrix(x) && x.isContiguous, "too many dimensions", pool, x);
    this.#require("mulMatId", ids.dtype === "i32" && isVectorOf(ids, x.extents[1]), "one i32 id a row", x, ids);
    const [columns, rows] = x.extents;
    const input = this.reshape(x, [columns, 1, rows]);
    const table = this.reshape(ids, [1, rows]);
    const product = this.#node(
      "mulMatId",
      [pool, input, table],
      { extents: [pool.extents[1], 1, rows, 1] },
      (base, c) => base.mulMatId(c, pool.pointer, input.pointer, table.pointer),
    );
    return this.reshape(product, [pool.extents[1], rows]);
  }

  /**
   * `a` with `b` added to its rows from `firstRow` on, and in them from `firstColumn` on, in place: a `[n, rows]`, b `[n or fewer, fewer]`,
   * both f32. → a
   */
  addRows(a: Tensor, b: Tensor, firstRow: number, firstColumn = 0): Tensor {
    this.#require("addRows", a.dtype === "f32" && b.dtype === "f32", "both must be f32", a, b);
    const columnsFit = firstColumn >= 0 && firstColumn + b.extents[0] <= a.extents[0];
    const fits = columnsFit && firstRow >= 0 && firstRow + b.extents[1] <= a.extents[1];
    const flat = isMatrix(a) && isMatrix(b) && a.isContiguous;
    this.#require("addRows", fits && flat, `rows do not fit from ${firstRow} on`, a, b);
    const [, nb1, nb2, nb3] = a.strides;
    return this.#node("addRows", [a, b], { extents: a.extents }, (base, c) =>
      base.accInplace(c, a.pointer, b.pointer, nb1, nb2, nb3, firstRow * nb1 + firstColumn * 4),
    );
  }

  /** Rows of a by number: a `[n, count]`, rows `[m]` i32, each below count. → `[n, m]` f32 */
  getRows(a: Tensor, rows: Tensor): Tensor {
    this.#require("getRows", isMatrix(a) && !isInteger(a), "a must be a matrix of real numbers", a, rows);
    this.#require(
      "getRows",
      rows.dtype === "i32" && isVectorOf(rows, rows.extents[0]),
      "rows must be i32 numbers",
      a,
      rows,
    );
    return this.#node("getRows", [a, rows], { extents: [a.extents[0], rows.extents[0], 1, 1] }, (base, c) =>
      base.getRows(c, a.pointer, rows.pointer),
    );
  }

  /** Writes the rows of b over rows of a by number, converting to a's dtype: b `[n, m]` f32, rows `[m]` i64. → a */
  setRows(a: Tensor, b: Tensor, rows: Tensor): Tensor {
    this.#require("setRows", rows.dtype === "i64" && isVectorOf(rows, b.extents[1]), "one i64 number a row", b, rows);
    this.#require("setRows", !isInteger(a) && b.dtype === "f32", "a must be real numbers and b f32", a, b);
    this.#require(
      "setRows",
      a.extents[0] === b.extents[0] && isMatrix(a) && isMatrix(b),
      "rows differ in length",
      a,
      b,
    );
    return this.#node("setRows", [a, b, rows], { dtype: a.dtype, extents: a.extents, strides: a.strides }, (base, c) =>
      base.setRows(c, a.pointer, b.pointer, rows.pointer),
    );
  }

  /** `silu(gate) * up`. → shape of gate */
  swiglu(gate: Tensor, up: Tensor): Tensor {
    this.#require("swiglu", gate.dtype === "f32" && up.dtype === "f32", "both must be f32", gate, up);
    this.#require("swiglu", String(gate.extents) === String(up.extents), "shapes differ", gate, up);
    const isFlat = (x: Tensor) => x.isContiguous || (isMatrix(x) && x.strides[0] === 4);
    this.#require("swiglu", isFlat(gate) && isFlat(up), "only between rows there may be gaps", gate, up);
    return this.#node("swiglu", [gate, up], { extents: gate.extents }, (base, c) =>
      base.swigluSplit(c, gate.pointer, up.pointer),
    );
  }

  /** x with zeros appended to each row, up to `length`; x itself when it has that already. Asked again, the same tensor. */
  padRows(x: Tensor, length: number): Tensor {
    if (x.extents[0] === length) return x;
    this.#require("padRows", x.dtype === "f32", "x must be f32", x);
    this.#require("padRows", length > x.extents[0], `cannot shorten to ${length}`, x);
    const [columns, e1, e2, e3] = x.extents;
    return this.once(`pad ${x.pointer} ${length}`, () =>
      this.#node("padRows", [x], { extents: [length, e1, e2, e3] }, (base, c) =>
        base.pad(c, x.pointer, length - columns, 0, 0, 0),
      ),
    );
  }

  /** The same elements under another shape. x must have no gaps. */
  reshape(x: Tensor, shape: ShapeLike): Tensor {
    const extents = extentsOf(shape);
    const [e0, e1, e2, e3] = extents;
    const fits = e0 * e1 * e2 * e3 === x.elements && e0 % dtypes[x.dtype].blockSize === 0;
    this.#require("reshape", fits && x.isContiguous, `cannot become [${shape}]`, x);
    return this.#node("reshape", [x], { dtype: x.dtype, extents }, (base, c) =>
      base.reshape(c, x.pointer, e0, e1, e2, e3),
    );
  }

  /** A window on x: its shape, its strides in bytes beyond the first dimension, and where it starts. */
  view(x: Tensor, shape: ShapeLike, window: { strides?: readonly number[]; offset: number }): Tensor {
    const { offset } = window;
    const extents = extentsOf(shape);
    const [e0, e1, e2, e3] = extents;
    const { blockSize, blockBytes } = dtypes[x.dtype];
    const row = x.strides[1];
    const [nb1, nb2, nb3] = [
      window.strides?.[0] ?? row,
      window.strides?.[1] ?? row * e1,
      window.strides?.[2] ?? row * e1 * e2,
    ];
    this.#require("view", e0 % blockSize === 0, `[${shape}] does not fill blocks`, x);
    const rowEnd = (e0 / blockSize) * blockBytes;
    const end = offset + rowEnd + (e1 - 1) * nb1 + (e2 - 1) * nb2 + (e3 - 1) * nb3;
    // ggml counts a window's elements as if they had no overlap, so one that repeats rows may not fit either.
    const packedEnd = offset + rowEnd * e1 * e2 * e3;
    this.#require(
      "view",
      offset >= 0 && Math.max(end, packedEnd) <= x.byteLength,
      `[${shape}] at ${offset} reaches outside`,
      x,
    );
    return this.#node("view", [x], { dtype: x.dtype, extents, strides: [x.strides[0], nb1, nb2, nb3] }, (base, c) =>
      base.view(c, x.pointer, e0, e1, e2, e3, nb1, nb2, nb3, offset),
    );
  }

  /** The rows of b after those of a: `[n, r]` and `[n, s]`. → `[n, r + s]` */
  appendRows(a: Tensor, b: Tensor): Tensor {
    this.#require("appendRows", a.dtype === "f32" && b.dtype === "f32", "both must be f32", a, b);
    this.#require("appendRows", a.extents[0] === b.extents[0] && isMatrix(a) && isMatrix(b), "rows differ", a, b);
    return this.#node("appendRows", [a, b], { extents: [a.extents[0], a.extents[1] + b.extents[1], 1, 1] }, (base, c) =>
      base.concat(c, a.pointer, b.pointer, 1),
    );
  }

  /** Rows `first … first + count` of a matrix, or x itself when that is all. Asked again, the same tensor. */
  rows(x: Tensor, first: number, count: number): Tensor {
    if (first === 0 && count === x.extents[1]) return x;
    return this.once(`rows ${x.pointer} ${first} ${count}`, () =>
      this.view(x, [x.extents[0], count], { offset: first * x.strides[1] }),
    );
  }

  /** Columns `first … first + count` of a matrix of f32, or x itself when that is all. */
  columns(x: Tensor, first: number, count: number): Tensor {
    if (first === 0 && count === x.extents[0]) return x;
    return this.view(x, [count, x.extents[1]], { strides: [x.strides[1]], offset: first * x.strides[0] });
  }

  /** Dimension i of x becomes dimension `axes[i]`; the first stays where it is, as every operation here wants it. */
  permute(x: Tensor, axes: readonly [0, number, number, number]): Tensor {
    this.#require("permute", String([...axes].sort()) === "0,1,2,3" && axes[0] === 0, `cannot permute by [${axes}]`, x);
    const extents: number[] = [];
    const strides: number[] = [];
    axes.forEach((axis, dimension) => {
      extents[axis] = x.extents[dimension]!;
      strides[axis] = x.strides[dimension]!;
    });
    const form = { dtype: x.dtype, extents: extents as unknown as Extents, strides: strides as unknown as Extents };
    return this.#node("permute", [x], form, (base, c) => base.permute(c, x.pointer, ...axes));
  }

  /** A matrix with rows and columns exchanged, as a copy: x `[n, m]` f32. → `[m, n]` */
  transpose(x: Tensor): Tensor {
    this.#require("transpose", x.dtype === "f32" && isMatrix(x), "x must be a matrix of f32", x);
    const [e0, e1] = x.extents;
    return this.#node("transpose", [x], { extents: [e1, e0, 1, 1] }, (base, c) =>
      base.contiguous(c, base.transpose(c, x.pointer)),
    );
  }

  /** Rotates each head by its row's position: x `[headDim, heads, rows]` f32, positions `[rows]` i32. → shape of x */
  rope(x: Tensor, positions: Tensor, rope: Rope): Tensor {
    const { factors } = rope;
    this.#require("rope", x.dtype === "f32" && x.extents[3] === 1, "x must be f32 of up to three dimensions", x);
    this.#require(
      "rope",
      positions.dtype === "i32" && isVectorOf(positions, x.extents[2]),
      "one i32 position a row",
      x,
      positions,
    );
    this.#require("rope", rope.dims <= x.extents[0] && rope.dims % 2 === 0, `cannot rotate ${rope.dims} dimensions`, x);
    const hasFactors = !factors || (factors.dtype === "f32" && isVectorOf(factors, rope.dims / 2));
    this.#require(
      "rope",
      hasFactors,
      `one f32 factor for each two of ${rope.dims} dimensions`,
      x,
      ...(factors ? [factors] : []),
    );
    return this.#node("rope", [x, positions, ...(factors ? [factors] : [])], { extents: x.extents }, (base, c) =>
      base.rope(
        c,
        x.pointer,
        positions.pointer,
        factors?.pointer ?? null,
        rope.dims,
        ropeHalves,
        0,
        rope.base,
        rope.scale,
        0,
        1,
        32,
        1,
      ),
    );
  }

  /**
   * Softmax attention of queries over cached keys and values, several sequences side by side: q `[headDim, rows, heads, sequences]`
   * f32, k and v `[headDim, cells, kvHeads, sequences]`, mask `[cells, rows, 1, sequences]` f16 of 0 and −∞. → `[headDim, heads, rows, sequences]`
   */
  attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: number): Tensor {
    const [headDim, rows, heads, sequences] = q.extents;
    this.#require(
      "attend",
      q.dtype === "f32" && !isInteger(k) && k.dtype === v.dtype,
      "f32 queries over keys and values alike",
      q,
      k,
      v,
    );
    this.#require(
      "attend",
      String(k.extents) === String(v.extents) && k.extents[0] === headDim,
      "keys and values differ",
      q,
      k,
      v,
    );
    this.#require(
      "attend",
      k.extents[3] === sequences && heads % k.extents[2] === 0,
      "heads or sequences do not match",
      q,
      k,
    );
    const maskFits = String(mask.extents) === String([k.extents[1], rows, 1, sequences]) && mask.isContiguous;
    this.#require("attend", mask.dtype === "f16" && maskFits, "mask does not match", q, k, mask);
    return this.#node("attend", [q, k, v, mask], { extents: [headDim, heads, rows, sequences] }, (base, c) =>
      base.flashAttention(c, q.pointer, k.pointer, v.pointer, mask.pointer, scale, 0, 0),
    );
  }

  /**
   * Asks the device whether it can run every operation and places the graph in memory, after which inputs can be written. Once:
   * later calls do nothing.
   *
   * @throws {NativeError} naming the operation that the device cannot run, or when memory is short
   */
  allocate(memory: GraphMemory): void {
    if (this.#allocated) return;
    const { base } = this.#device.library;
    const nodes = base.graphNodes(this.#graph);
    for (let index = 0; index < nodes; index++) {
      const node = base.graphNode(this.#graph, index);
      if (!base.deviceSupportsOp(this.#device.device, node)) {
        const op = base.opDesc(node);
        throw new NativeError(`${this.#device.description} cannot run operation ${index} of the step, ${op}`, {
          details: { op },
        });
      }
    }
    if (!memory.place(this.#graph)) {
      throw new NativeError(`Cannot allocate the memory of a step on ${this.#device.description}`);
    }
    this.#allocated = true;
  }

  /**
   * Runs the pass on the inputs as written.
   *
   * @throws {NativeError} with what ggml reported
   */
  compute(): void {
    assert(this.#allocated, "a graph is computed before it was allocated");
    const status = this.#device.library.base.compute(this.#device.backend, this.#graph);
    if (status !== 0) {
      throw new NativeError(
        `A step on ${this.#device.description} ended with status ${status} (${statusNames[status] ?? "unknown"})`,
      );
    }
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#adoption.release();
    this.#device.library.base.free(this.#context);
  }

  /** What `build` makes, or what it made when asked for the same key before. */
  once(key: string, build: () => Tensor): Tensor {
    const known = this.#memo.get(key);
    if (known) return known;
    const built = build();
    this.#memo.set(key, built);
    return built;
  }

  /** Adds an operation of a file beside this one, which has checked its operands. */
  operation(
    op: string,
    operands: readonly Tensor[],
    extents: Extents,
    build: (base: BaseFunctions, context: Pointer) => Pointer,
  ): Tensor {
    return this.#node(op, operands, { extents }, build);
  }

  // ggml aborts when a context or a graph is full, so there is room for a tensor before it hears of it.
  #node(
    op: string,
    operands: readonly Tensor[],
    form: TensorForm,
    build: (base: BaseFunctions, context: Pointer) => Pointer,
  ): Tensor {
    const { base } = this.#device.library;
    for (const { pointer } of operands) this.#tensors.add(pointer);
    this.#require(
      op,
      this.#tensors.size < this.#tensorsMax,
      `the graph is full with ${this.#tensorsMax} tensors`,
      ...operands,
    );
    const pointer = build(base, this.#context);
    this.#tensors.add(pointer);
    return new Tensor(base, { name: op, dtype: "f32", ...form, pointer });
  }

  #repeats(op: string, a: Tensor, b: Tensor): void {
    this.#require(op, a.dtype === "f32" && b.dtype === "f32", "both must be f32", a, b);
    this.#require(
      op,
      a.extents.every((extent, d) => extent % b.extents[d]! === 0),
      "shapes do not fit",
      a,
      b,
    );
  }

  #factors(op: string, w: Tensor, x: Tensor): void {
    this.#require(op, !isInteger(w) && x.dtype === "f32", "weights must be real numbers and x f32", w, x);
    this.#require(op, w.extents[0] === x.extents[0], "inner dimensions differ", w, x);
  }

  #require(op: string, condition: boolean, problem: string, ...tensors: Tensor[]): void {
    if (!condition) throw new GraphError(op, problem, tensors);
  }
}

/** What an operation's result is like, f32 and without gaps where it does not say. */
interface TensorForm {
  readonly dtype?: DType;
  readonly extents: Extents;
  readonly strides?: Extents;
}

const isInteger = ({ dtype }: Tensor) => dtype === "i32" || dtype === "i64";
const isMatrix = ({ extents }: Tensor) => extents[2] === 1 && extents[3] === 1;
const isVectorOf = (tensor: Tensor, length: number) => tensor.elements === length && tensor.extents[0] === length;
