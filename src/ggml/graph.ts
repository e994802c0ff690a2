import { type DType, dtypes, KindredError, NativeError } from "../core/index.js";
import { assert } from "../util/index.js";
import type { Device } from "./device.js";
import type { Pointer } from "./signatures.js";
import { type Extents, extentsOf, type ShapeLike, Tensor } from "./tensor.js";

/** An operation was given tensors that do not fit it. Thrown before ggml, which would end the process, sees them. */
export class GraphError extends KindredError {
  constructor(op: string, problem: string, tensors: readonly Tensor[]) {
    super("graph_error", 500, `Cannot build ${op}: ${problem}; got ${tensors.map(String).join(" and ")}`, { details: { op } });
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
  #tensors = 0;
  #allocated = false;
  #disposed = false;

  /** @param options.nodesMax operations it may hold */
  constructor(device: Device, options: { nodesMax: number }) {
    const { base } = device.library;
    this.#device = device;
    // Every operation is one tensor; inputs come on top.
    this.#tensorsMax = options.nodesMax + 64;
    const bytes = base.tensorOverhead() * this.#tensorsMax + Number(base.graphOverhead(options.nodesMax, false));
    const context = base.init({ mem_size: bytes, mem_buffer: null, no_alloc: true });
    if (!context) throw new NativeError(`Cannot begin a graph of ${options.nodesMax} operations: out of host memory`);
    this.#context = context;
    this.#graph = base.newGraph(context, options.nodesMax, false);
    this.#adoption = device.adopt(this);
  }

  /** Memory to be written before each `compute`. */
  input(name: string, dtype: DType, shape: ShapeLike): Tensor {
    const { base } = this.#device.library;
    const extents = extentsOf(shape);
    this.#count("input", []);
    const pointer = base.newTensor(this.#context, dtypes[dtype].id, 4, BigInt64Array.from(extents, BigInt));
    base.setInput(pointer);
    return new Tensor(base, { name, dtype, extents, pointer });
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
    return this.#node("add", [a, b], a.extents, this.#base.add(this.#context, a.pointer, b.pointer));
  }

  /** `a * b`, elementwise, with b repeated along dimensions where it has fewer. → shape of a */
  mul(a: Tensor, b: Tensor): Tensor {
    this.#repeats("mul", a, b);
    return this.#node("mul", [a, b], a.extents, this.#base.mul(this.#context, a.pointer, b.pointer));
  }

  /** Each row divided by its root mean square. → shape of x */
  rmsNorm(x: Tensor, eps: number): Tensor {
    this.#require("rmsNorm", x.dtype === "f32", "x must be f32", x);
    return this.#node("rmsNorm", [x], x.extents, this.#base.rmsNorm(this.#context, x.pointer, eps));
  }

  /** `W · x`: W `[in, out]`, x `[in, rows]` f32. → `[out, rows]` */
  mulMat(w: Tensor, x: Tensor): Tensor {
    this.#require("mulMat", w.extents[0] === x.extents[0], "inner dimensions differ", w, x);
    this.#require("mulMat", w.extents[2] === 1 && w.extents[3] === 1, "weights must be a matrix", w, x);
    const [, rows, e2, e3] = x.extents;
    const pointer = this.#base.mulMat(this.#context, w.pointer, x.pointer);
    return this.#node("mulMat", [w, x], [w.extents[1], rows, e2, e3], pointer);
  }

  /** Row r of x times matrix `ids[r]` of the pool: pool `[in, out, slots]`, x `[in, rows]` f32, ids `[rows]` i32. → `[out, rows]` */
  mulMatId(pool: Tensor, x: Tensor, ids: Tensor): Tensor {
    this.#require("mulMatId", pool.extents[0] === x.extents[0], "inner dimensions differ", pool, x);
    this.#require("mulMatId", pool.extents[3] === 1 && x.extents[2] === 1 && x.extents[3] === 1, "too many dimensions", pool, x);
    this.#require("mulMatId", ids.dtype === "i32" && ids.extents[0] === x.extents[1], "one i32 id a row", x, ids);
    const rows = x.extents[1];
    const input = this.reshape(x, [x.extents[0], 1, rows]);
    const table = this.reshape(ids, [1, rows]);
    const pointer = this.#base.mulMatId(this.#context, pool.pointer, input.pointer, table.pointer);
    const product = this.#node("mulMatId", [pool, input, table], [pool.extents[1], 1, rows, 1], pointer);
    return this.reshape(product, [pool.extents[1], rows]);
  }

  /** `a` with `b` added to its rows from `firstRow` on, in place: a `[n, rows]`, b `[n, fewer]`, both f32. → a */
  addRows(a: Tensor, b: Tensor, firstRow: number): Tensor {
    const fits = a.extents[0] === b.extents[0] && firstRow + b.extents[1] <= a.extents[1];
    this.#require("addRows", fits && a.isContiguous, "rows do not fit", a, b);
    this.#require("addRows", a.dtype === "f32" && b.dtype === "f32", "both must be f32", a, b);
    const [, nb1, nb2, nb3] = a.strides;
    const pointer = this.#base.accInplace(this.#context, a.pointer, b.pointer, nb1, nb2, nb3, firstRow * nb1);
    return this.#node("addRows", [a, b], a.extents, pointer);
  }

  /** Rows of a by number: a `[n, count]`, rows `[m]` i32. → `[n, m]` f32 */
  getRows(a: Tensor, rows: Tensor): Tensor {
    this.#require("getRows", rows.dtype === "i32" && a.extents[2] === 1 && rows.extents[1] === 1, "a matrix and i32 numbers", a, rows);
    const pointer = this.#base.getRows(this.#context, a.pointer, rows.pointer);
    return this.#node("getRows", [a, rows], [a.extents[0], rows.extents[0], 1, 1], pointer);
  }

  /** Writes the rows of b over rows of a by number, converting to a's dtype: b `[n, m]` f32, rows `[m]` i64. → a */
  setRows(a: Tensor, b: Tensor, rows: Tensor): Tensor {
    this.#require("setRows", rows.dtype === "i64" && rows.extents[0] === b.extents[1], "one i64 number a row", b, rows);
    this.#require("setRows", a.extents[0] === b.extents[0] && a.extents[2] === 1 && b.extents[2] === 1, "rows differ in length", a, b);
    const pointer = this.#base.setRows(this.#context, a.pointer, b.pointer, rows.pointer);
    return this.#node("setRows", [a, b, rows], a.extents, pointer, { dtype: a.dtype, strides: a.strides });
  }

  /** `silu(gate) * up`. → shape of gate */
  swiglu(gate: Tensor, up: Tensor): Tensor {
    this.#require("swiglu", String(gate.extents) === String(up.extents), "shapes differ", gate, up);
    return this.#node("swiglu", [gate, up], gate.extents, this.#base.swigluSplit(this.#context, gate.pointer, up.pointer));
  }

  /** x with zeros appended to each row, up to `length`; x itself when it has that already. Asked again, the same tensor. */
  padRows(x: Tensor, length: number): Tensor {
    if (x.extents[0] === length) return x;
    this.#require("padRows", length > x.extents[0], `cannot shorten to ${length}`, x);
    return this.#once(`pad ${x.pointer} ${length}`, () => {
      const pointer = this.#base.pad(this.#context, x.pointer, length - x.extents[0], 0, 0, 0);
      return this.#node("padRows", [x], [length, x.extents[1], x.extents[2], x.extents[3]], pointer);
    });
  }

  /** The same elements under another shape. x must have no gaps. */
  reshape(x: Tensor, shape: ShapeLike): Tensor {
    const extents = extentsOf(shape);
    this.#require("reshape", extents.reduce((a, b) => a * b, 1) === x.elements && x.isContiguous, `cannot become [${shape}]`, x);
    const [e0, e1, e2, e3] = extents;
    return this.#node("reshape", [x], extents, this.#base.reshape(this.#context, x.pointer, e0, e1, e2, e3), { dtype: x.dtype });
  }

  /** A window on x: its shape, its strides in bytes beyond the first dimension, and where it starts. */
  view(x: Tensor, shape: ShapeLike, window: { strides?: readonly number[]; offset: number }): Tensor {
    const extents = extentsOf(shape);
    const row = x.strides[1];
    const [nb1, nb2, nb3] = [window.strides?.[0] ?? row, window.strides?.[1] ?? row * extents[1], window.strides?.[2] ?? row * extents[1] * extents[2]];
    const last = (extents[0] / dtypes[x.dtype].blockSize) * x.strides[0] + (extents[1] - 1) * nb1 + (extents[2] - 1) * nb2 + (extents[3] - 1) * nb3;
    this.#require("view", window.offset >= 0 && window.offset + last <= x.byteLength, `[${shape}] at ${window.offset} reaches outside`, x);
    const [e0, e1, e2, e3] = extents;
    const pointer = this.#base.view(this.#context, x.pointer, e0, e1, e2, e3, nb1, nb2, nb3, window.offset);
    return this.#node("view", [x], extents, pointer, { dtype: x.dtype, strides: [x.strides[0], nb1, nb2, nb3] });
  }

  /** The rows of b after those of a: `[n, r]` and `[n, s]`. → `[n, r + s]` */
  appendRows(a: Tensor, b: Tensor): Tensor {
    const matches = a.extents[0] === b.extents[0] && a.extents[2] === 1 && b.extents[2] === 1 && a.dtype === b.dtype;
    this.#require("appendRows", matches, "rows differ", a, b);
    const pointer = this.#base.concat(this.#context, a.pointer, b.pointer, 1);
    return this.#node("appendRows", [a, b], [a.extents[0], a.extents[1] + b.extents[1], 1, 1], pointer);
  }

  /** Rows `first … first + count` of a matrix, or x itself when that is all. Asked again, the same tensor. */
  rows(x: Tensor, first: number, count: number): Tensor {
    if (first === 0 && count === x.extents[1]) return x;
    return this.#once(`rows ${x.pointer} ${first} ${count}`, () =>
      this.view(x, [x.extents[0], count], { offset: first * x.strides[1] }),
    );
  }

  /** Dimension i of x becomes dimension `axes[i]`. */
  permute(x: Tensor, axes: readonly [number, number, number, number]): Tensor {
    const extents: number[] = [];
    const strides: number[] = [];
    axes.forEach((axis, dimension) => {
      extents[axis] = x.extents[dimension]!;
      strides[axis] = x.strides[dimension]!;
    });
    const pointer = this.#base.permute(this.#context, x.pointer, ...axes);
    return this.#node("permute", [x], extents as unknown as Extents, pointer, { dtype: x.dtype, strides: strides as unknown as Extents });
  }

  /** Rotates each head by its row's position: x `[headDim, heads, rows]` f32, positions `[rows]` i32. → shape of x */
  rope(x: Tensor, positions: Tensor, rope: Rope): Tensor {
    this.#require("rope", positions.dtype === "i32" && positions.extents[0] === x.extents[2], "one i32 position a row", x, positions);
    this.#require("rope", rope.dims <= x.extents[0] && rope.dims % 2 === 0, `cannot rotate ${rope.dims} dimensions`, x);
    const factors = rope.factors?.pointer ?? null;
    const pointer = this.#base.rope(
      this.#context, x.pointer, positions.pointer, factors, rope.dims, ropeHalves, 0, rope.base, rope.scale, 0, 1, 32, 1,
    );
    return this.#node("rope", [x, positions], x.extents, pointer);
  }

  /**
   * Softmax attention of queries over cached keys and values, several sequences side by side: q `[headDim, rows, heads, sequences]`
   * f32, k and v `[headDim, cells, kvHeads, sequences]`, mask `[cells, rows, 1, sequences]` f16 of 0 and −∞. → `[headDim, heads, rows, sequences]`
   */
  attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: number): Tensor {
    const [headDim, rows, heads, sequences] = q.extents;
    this.#require("attend", String(k.extents) === String(v.extents) && k.extents[0] === headDim, "keys and values differ", k, v);
    this.#require("attend", k.extents[3] === sequences && heads % k.extents[2] === 0, "heads or sequences do not match", q, k);
    this.#require("attend", mask.dtype === "f16" && String(mask.extents) === String([k.extents[1], rows, 1, sequences]), "mask does not match", q, mask);
    const pointer = this.#base.flashAttention(this.#context, q.pointer, k.pointer, v.pointer, mask.pointer, scale, 0, 0);
    return this.#node("attend", [q, k, v, mask], [headDim, heads, rows, sequences], pointer);
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
    for (let index = 0; index < base.graphNodes(this.#graph); index++) {
      const node = base.graphNode(this.#graph, index);
      if (!base.deviceSupportsOp(this.#device.device, node)) {
        const op = base.opDesc(node);
        throw new NativeError(`${this.#device.description} cannot run operation ${index} of the step, ${op}`, { details: { op } });
      }
    }
    if (!base.graphAllocatorAlloc(memory.pointer, this.#graph)) {
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
      throw new NativeError(`A step on ${this.#device.description} ended with status ${status} (${statusNames[status] ?? "unknown"})`);
    }
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#adoption.release();
    this.#device.library.base.free(this.#context);
  }

  get #base() {
    return this.#device.library.base;
  }

  #node(op: string, operands: readonly Tensor[], extents: Extents, pointer: Pointer, as: { dtype?: DType; strides?: Extents } = {}): Tensor {
    this.#count(op, operands);
    const strides = as.strides ? { strides: as.strides } : {};
    return new Tensor(this.#base, { name: op, dtype: as.dtype ?? "f32", extents, pointer, ...strides });
  }

  #once(key: string, build: () => Tensor): Tensor {
    const known = this.#memo.get(key);
    if (known) return known;
    const built = build();
    this.#memo.set(key, built);
    return built;
  }

  // ggml aborts when a context is full, so the last few places are never used.
  #count(op: string, operands: readonly Tensor[]): void {
    this.#tensors += 1;
    this.#require(op, this.#tensors < this.#tensorsMax - 1, `the graph is full with ${this.#tensors} tensors`, ...operands);
  }

  #repeats(op: string, a: Tensor, b: Tensor): void {
    this.#require(op, a.dtype === "f32" && b.dtype === "f32", "both must be f32", a, b);
    this.#require(op, a.extents.every((extent, d) => extent % b.extents[d]! === 0), "shapes do not fit", a, b);
  }

  #require(op: string, condition: boolean, problem: string, ...tensors: Tensor[]): void {
    if (!condition) throw new GraphError(op, problem, tensors);
  }
}

/** The memory that intermediate results share, from one graph to the next. It grows to the largest graph and stays. */
export class GraphMemory implements Disposable {
  readonly pointer: Pointer;
  readonly #device: Device;
  readonly #adoption: { release(): void };
  #disposed = false;

  constructor(device: Device) {
    const pointer = device.library.base.graphAllocatorNew(device.defaultBufferType);
    if (!pointer) throw new NativeError(`Cannot make a graph allocator on ${device.description}`);
    this.pointer = pointer;
    this.#device = device;
    this.#adoption = device.adopt(this);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#adoption.release();
    this.#device.library.base.graphAllocatorFree(this.pointer);
  }
}
