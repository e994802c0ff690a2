import koffi, { type LibraryHandle, type TypeObject } from "koffi";

// Every C function that Kindred calls, one line each, as ggml.h, ggml-alloc.h and ggml-backend.h declare them.

/** An address in native memory. Only this folder holds them. */
export type Pointer = bigint;

const P = "void*";

/** How koffi is told of an address. */
export const voidPointer = P;

const initParams = koffi.struct("ggml_init_params", { mem_size: "size_t", mem_buffer: P, no_alloc: "bool" });
const threadpoolParams = koffi.struct("ggml_threadpool_params", {
  cpumask: koffi.array("bool", 512),
  n_threads: "int",
  prio: "int",
  poll: "uint32_t",
  strict_cpu: "bool",
  paused: "bool",
});
export const logCallbackType = koffi.pointer(
  koffi.proto("void ggml_log_callback(int level, const char *text, void *user_data)"),
);

/** ggml's `struct ggml_threadpool_params`; filled by `threadpoolParamsDefault` and handed on unread. */
export type ThreadpoolParams = object;

/** Functions of libggml-base: tensors, graphs, buffers, and calls that dispatch to a backend. */
export interface BaseFunctions {
  version(): string;
  /** A native function that may be set as log callback, from whatever thread it is called, and says nothing. */
  readonly silence: Pointer;
  logSet(callback: unknown, userData: null): void;
  init(params: { mem_size: number; mem_buffer: null; no_alloc: boolean }): Pointer | null;
  free(context: Pointer): void;
  tensorOverhead(): number;
  graphOverhead(nodes: number, gradients: boolean): number;
  newTensor(context: Pointer, type: number, dimensions: number, extents: BigInt64Array): Pointer;
  setName(tensor: Pointer, name: string): Pointer;
  getData(tensor: Pointer): Pointer | null;
  setInput(tensor: Pointer): void;
  setOutput(tensor: Pointer): void;
  newGraph(context: Pointer, nodes: number, gradients: boolean): Pointer;
  expand(graph: Pointer, tensor: Pointer): void;
  graphNodes(graph: Pointer): number;
  graphNode(graph: Pointer, index: number): Pointer;
  opDesc(tensor: Pointer): string;

  add(c: Pointer, a: Pointer, b: Pointer): Pointer;
  mul(c: Pointer, a: Pointer, b: Pointer): Pointer;
  rmsNorm(c: Pointer, a: Pointer, eps: number): Pointer;
  mulMat(c: Pointer, a: Pointer, b: Pointer): Pointer;
  mulMatId(c: Pointer, as: Pointer, b: Pointer, ids: Pointer): Pointer;
  accInplace(c: Pointer, a: Pointer, b: Pointer, nb1: number, nb2: number, nb3: number, offset: number): Pointer;
  getRows(c: Pointer, a: Pointer, rows: Pointer): Pointer;
  setRows(c: Pointer, a: Pointer, b: Pointer, rows: Pointer): Pointer;
  swigluSplit(c: Pointer, a: Pointer, b: Pointer): Pointer;
  sumRows(c: Pointer, a: Pointer): Pointer;
  softMax(c: Pointer, a: Pointer, mask: Pointer | null, scale: number, maxBias: number): Pointer;
  softMaxBack(c: Pointer, gradient: Pointer, result: Pointer, scale: number, maxBias: number): Pointer;
  rmsNormBack(c: Pointer, gradient: Pointer, a: Pointer, eps: number): Pointer;
  siluBack(c: Pointer, gradient: Pointer, a: Pointer): Pointer;
  continuous(c: Pointer, a: Pointer, e0: number, e1: number, e2: number, e3: number): Pointer;
  concat(c: Pointer, a: Pointer, b: Pointer, dimension: number): Pointer;
  pad(c: Pointer, a: Pointer, p0: number, p1: number, p2: number, p3: number): Pointer;
  view(
    c: Pointer,
    a: Pointer,
    e0: number,
    e1: number,
    e2: number,
    e3: number,
    nb1: number,
    nb2: number,
    nb3: number,
    offset: number,
  ): Pointer;
  reshape(c: Pointer, a: Pointer, e0: number, e1: number, e2: number, e3: number): Pointer;
  permute(c: Pointer, a: Pointer, x0: number, x1: number, x2: number, x3: number): Pointer;
  transpose(c: Pointer, a: Pointer): Pointer;
  contiguous(c: Pointer, a: Pointer): Pointer;
  rope(
    c: Pointer,
    a: Pointer,
    positions: Pointer,
    factors: Pointer | null,
    dims: number,
    mode: number,
    originalContext: number,
    base: number,
    scale: number,
    extFactor: number,
    attnFactor: number,
    betaFast: number,
    betaSlow: number,
  ): Pointer;
  flashAttention(
    c: Pointer,
    q: Pointer,
    k: Pointer,
    v: Pointer,
    mask: Pointer,
    scale: number,
    maxBias: number,
    softcap: number,
  ): Pointer;
  /** An operation whose function is called by `tasks` threads (−1: all) with its result, its thread and their number, and `data`. */
  custom(
    c: Pointer,
    type: number,
    e0: number,
    e1: number,
    e2: number,
    e3: number,
    operands: BigUint64Array,
    count: number,
    operation: Pointer,
    tasks: number,
    data: Pointer,
  ): Pointer;
  /** The same with its result written over `a`, which is the first operand. */
  customInplace(
    c: Pointer,
    a: Pointer,
    operands: BigUint64Array,
    count: number,
    operation: Pointer,
    tasks: number,
    data: Pointer,
  ): Pointer;

  allocContext(context: Pointer, bufferType: Pointer): Pointer | null;
  /** A buffer over memory of the host that somebody else owns. */
  bufferFromPointer(address: Pointer, bytes: number): Pointer | null;
  /** Puts a tensor that has no memory yet at an address in a buffer. */
  placeTensor(buffer: Pointer, tensor: Pointer, address: Pointer): number;
  /** Gives a view the memory of what it is a view of. */
  placeView(tensor: Pointer): number;
  bufferFree(buffer: Pointer): void;
  bufferSize(buffer: Pointer): number;
  bufferAddress(buffer: Pointer): Pointer;
  bufferIsHost(buffer: Pointer): boolean;
  bufferClear(buffer: Pointer, value: number): void;
  bufferSetUsage(buffer: Pointer, usage: number): void;
  bufferTypeName(bufferType: Pointer): string;
  tensorSet(tensor: Pointer, data: ArrayBufferView, offset: number, size: number): void;
  tensorGet(tensor: Pointer, data: ArrayBufferView, offset: number, size: number): void;
  graphAllocatorNew(bufferType: Pointer): Pointer | null;
  graphAllocatorFree(allocator: Pointer): void;
  graphAllocatorReserve(allocator: Pointer, graph: Pointer): boolean;
  graphAllocatorBytes(allocator: Pointer, buffer: number): number;
  graphAllocatorAlloc(allocator: Pointer, graph: Pointer): boolean;
  compute(backend: Pointer, graph: Pointer): number;
  backendFree(backend: Pointer): void;
  deviceName(device: Pointer): string;
  deviceDescription(device: Pointer): string;
  deviceType(device: Pointer): number;
  /** Writes the bytes that it has free and in all. */
  deviceMemory(device: Pointer, free: BigUint64Array, total: BigUint64Array): void;
  deviceRegistry(device: Pointer): Pointer;
  deviceInit(device: Pointer, params: null): Pointer | null;
  deviceBufferType(device: Pointer): Pointer;
  deviceSupportsOp(device: Pointer, tensor: Pointer): boolean;
  procAddress(registry: Pointer, name: string): Pointer | null;
  threadpoolParamsDefault(threads: number): ThreadpoolParams;

  quantize(
    type: number,
    from: Float32Array,
    to: Uint8Array,
    start: number,
    rows: number,
    rowLength: number,
    importance: null,
  ): number;
  dequantize(type: string): (from: Uint8Array, to: Float32Array, elements: number) => void;
}

/** Functions of libggml: which devices there are. */
export interface RegistryFunctions {
  loadAllFromPath(folder: string): void;
  deviceCount(): number;
  device(index: number): Pointer;
}

/** Functions of the CPU backend, which ggml hands out by name so that other backends need not have them. */
export interface CpuFunctions {
  threadpoolNew(params: ThreadpoolParams): Pointer | null;
  threadpoolFree(threadpool: Pointer): void;
  setThreadpool(backend: Pointer, threadpool: Pointer): void;
  setThreads(backend: Pointer, threads: number): void;
  extraBufferTypes(device: Pointer): Pointer | null;
}

export function bindBase(lib: LibraryHandle): BaseFunctions {
  const f = lib.func.bind(lib);
  return {
    version: f("ggml_version", "str", []),
    // Any function without effects will do; this one looks up a name by a small number, which a log level is.
    silence: lib.symbol("ggml_type_name"),
    logSet: f("ggml_log_set", "void", [logCallbackType, P]),
    init: f("ggml_init", P, [initParams]),
    free: f("ggml_free", "void", [P]),
    tensorOverhead: f("ggml_tensor_overhead", "size_t", []),
    graphOverhead: f("ggml_graph_overhead_custom", "size_t", ["size_t", "bool"]),
    newTensor: f("ggml_new_tensor", P, [P, "int", "int", koffi.pointer("int64_t")]),
    setName: f("ggml_set_name", P, [P, "str"]),
    getData: f("ggml_get_data", P, [P]),
    setInput: f("ggml_set_input", "void", [P]),
    setOutput: f("ggml_set_output", "void", [P]),
    newGraph: f("ggml_new_graph_custom", P, [P, "size_t", "bool"]),
    expand: f("ggml_build_forward_expand", "void", [P, P]),
    graphNodes: f("ggml_graph_n_nodes", "int", [P]),
    graphNode: f("ggml_graph_node", P, [P, "int"]),
    opDesc: f("ggml_op_desc", "str", [P]),

    add: f("ggml_add", P, [P, P, P]),
    mul: f("ggml_mul", P, [P, P, P]),
    rmsNorm: f("ggml_rms_norm", P, [P, P, "float"]),
    mulMat: f("ggml_mul_mat", P, [P, P, P]),
    mulMatId: f("ggml_mul_mat_id", P, [P, P, P, P]),
    accInplace: f("ggml_acc_inplace", P, [P, P, P, "size_t", "size_t", "size_t", "size_t"]),
    getRows: f("ggml_get_rows", P, [P, P, P]),
    setRows: f("ggml_set_rows", P, [P, P, P, P]),
    swigluSplit: f("ggml_swiglu_split", P, [P, P, P]),
    sumRows: f("ggml_sum_rows", P, [P, P]),
    softMax: f("ggml_soft_max_ext", P, [P, P, P, "float", "float"]),
    softMaxBack: f("ggml_soft_max_ext_back", P, [P, P, P, "float", "float"]),
    rmsNormBack: f("ggml_rms_norm_back", P, [P, P, P, "float"]),
    siluBack: f("ggml_silu_back", P, [P, P, P]),
    continuous: f("ggml_cont_4d", P, [P, P, "int64_t", "int64_t", "int64_t", "int64_t"]),
    concat: f("ggml_concat", P, [P, P, P, "int"]),
    pad: f("ggml_pad", P, [P, P, "int", "int", "int", "int"]),
    view: f("ggml_view_4d", P, [
      P,
      P,
      "int64_t",
      "int64_t",
      "int64_t",
      "int64_t",
      "size_t",
      "size_t",
      "size_t",
      "size_t",
    ]),
    reshape: f("ggml_reshape_4d", P, [P, P, "int64_t", "int64_t", "int64_t", "int64_t"]),
    permute: f("ggml_permute", P, [P, P, "int", "int", "int", "int"]),
    transpose: f("ggml_transpose", P, [P, P]),
    contiguous: f("ggml_cont", P, [P, P]),
    rope: f("ggml_rope_ext", P, [
      P,
      P,
      P,
      P,
      "int",
      "int",
      "int",
      "float",
      "float",
      "float",
      "float",
      "float",
      "float",
    ]),
    flashAttention: f("ggml_flash_attn_ext", P, [P, P, P, P, P, "float", "float", "float"]),

    custom: f("ggml_custom_4d", P, [
      P,
      "int",
      "int64_t",
      "int64_t",
      "int64_t",
      "int64_t",
      koffi.pointer("uint64_t"),
      "int",
      P,
      "int",
      P,
    ]),
    customInplace: f("ggml_custom_inplace", P, [P, P, koffi.pointer("uint64_t"), "int", P, "int", P]),

    allocContext: f("ggml_backend_alloc_ctx_tensors_from_buft", P, [P, P]),
    bufferFromPointer: f("ggml_backend_cpu_buffer_from_ptr", P, [P, "size_t"]),
    placeTensor: f("ggml_backend_tensor_alloc", "int", [P, P, P]),
    placeView: f("ggml_backend_view_init", "int", [P]),
    bufferFree: f("ggml_backend_buffer_free", "void", [P]),
    bufferAddress: f("ggml_backend_buffer_get_base", P, [P]),
    bufferSize: f("ggml_backend_buffer_get_size", "size_t", [P]),
    bufferIsHost: f("ggml_backend_buffer_is_host", "bool", [P]),
    bufferClear: f("ggml_backend_buffer_clear", "void", [P, "uint8_t"]),
    bufferSetUsage: f("ggml_backend_buffer_set_usage", "void", [P, "int"]),
    bufferTypeName: f("ggml_backend_buft_name", "str", [P]),
    tensorSet: f("ggml_backend_tensor_set", "void", [P, P, "size_t", "size_t"]),
    tensorGet: f("ggml_backend_tensor_get", "void", [P, P, "size_t", "size_t"]),
    graphAllocatorNew: f("ggml_gallocr_new", P, [P]),
    graphAllocatorFree: f("ggml_gallocr_free", "void", [P]),
    graphAllocatorReserve: f("ggml_gallocr_reserve", "bool", [P, P]),
    graphAllocatorBytes: f("ggml_gallocr_get_buffer_size", "size_t", [P, "int"]),
    graphAllocatorAlloc: f("ggml_gallocr_alloc_graph", "bool", [P, P]),
    compute: f("ggml_backend_graph_compute", "int", [P, P]),
    backendFree: f("ggml_backend_free", "void", [P]),
    deviceName: f("ggml_backend_dev_name", "str", [P]),
    deviceDescription: f("ggml_backend_dev_description", "str", [P]),
    deviceType: f("ggml_backend_dev_type", "int", [P]),
    deviceMemory: f("ggml_backend_dev_memory", "void", [P, koffi.pointer("size_t"), koffi.pointer("size_t")]),
    deviceRegistry: f("ggml_backend_dev_backend_reg", P, [P]),
    deviceInit: f("ggml_backend_dev_init", P, [P, P]),
    deviceBufferType: f("ggml_backend_dev_buffer_type", P, [P]),
    deviceSupportsOp: f("ggml_backend_dev_supports_op", "bool", [P, P]),
    procAddress: f("ggml_backend_reg_get_proc_address", P, [P, "str"]),
    threadpoolParamsDefault: f("ggml_threadpool_params_default", threadpoolParams, ["int"]),

    quantize: f("ggml_quantize_chunk", "size_t", ["int", P, P, "int64_t", "int64_t", "int64_t", P]),
    dequantize: (type) => f(`dequantize_row_${type}`, "void", [P, P, "int64_t"]),
  };
}

export function bindRegistry(lib: LibraryHandle): RegistryFunctions {
  return {
    loadAllFromPath: lib.func("ggml_backend_load_all_from_path", "void", ["str"]),
    deviceCount: lib.func("ggml_backend_dev_count", "size_t", []),
    device: lib.func("ggml_backend_dev_get", P, ["size_t"]),
  };
}

const cpuPrototypes = {
  threadpoolNew: koffi.proto("kindred_threadpool_new", P, [koffi.pointer(threadpoolParams)]),
  threadpoolFree: koffi.proto("kindred_threadpool_free", "void", [P]),
  setThreadpool: koffi.proto("kindred_set_threadpool", "void", [P, P]),
  setThreads: koffi.proto("kindred_set_threads", "void", [P, "int"]),
  extraBufferTypes: koffi.proto("kindred_extra_buffer_types", P, [P]),
};

/** @param find address of a backend's function by its registered name; null when it has none of that name */
export function bindCpu(find: (name: string) => Pointer | null): CpuFunctions | undefined {
  const bind = (name: string, prototype: TypeObject) => {
    const address = find(name);
    return address ? koffi.decode(address, prototype) : undefined;
  };
  const bound = {
    threadpoolNew: bind("ggml_threadpool_new", cpuPrototypes.threadpoolNew),
    threadpoolFree: bind("ggml_threadpool_free", cpuPrototypes.threadpoolFree),
    setThreadpool: bind("ggml_backend_cpu_set_threadpool", cpuPrototypes.setThreadpool),
    setThreads: bind("ggml_backend_set_n_threads", cpuPrototypes.setThreads),
    extraBufferTypes: bind("ggml_backend_dev_get_extra_bufts", cpuPrototypes.extraBufferTypes),
  };
  return Object.values(bound).every(Boolean) ? (bound as CpuFunctions) : undefined;
}

/** Functions of the library that is compiled from `native/`. Pointers are custom operations of graphs. */
export interface KernelFunctions {
  /**
   * Activations in 8 bits, as native/activations.h draws them, and tables of their sums for some rows. The data of these operations is,
   * above 32 bits, the first row that gets tables.
   */
  readonly quantize: Pointer;
  /** The same of a row's values over their root mean square, times scales. Its data are the bits of what is added to the square. */
  readonly quantizeNormed: Pointer;
  /** The same of silu(first) · second. */
  readonly quantizeGated: Pointer;
  /**
   * The product of interleaved matrices with such activations. Its data is 1 when it is added in place, 0 when not, and above 32
   * bits the first row.
   */
  readonly multiply: Pointer;
  /** Rows of an interleaved matrix. */
  readonly lookUp: Pointer;
  /** Both of matrices in 16-bit floats, multiplied with activations as they are. */
  readonly multiplyFloats: Pointer;
  readonly lookUpFloats: Pointer;
  /** In place: the product of sign planes with tabulated sums, added. Its data is the first row, and above 32 bits the first output. */
  readonly addSigns: Pointer;
  /** Rows of sign planes. */
  readonly lookUpSigns: Pointer;
  /** In place: the product of an interleaved matrix, and sign planes merged into it, with rows of them; see native/merged-planes.h. */
  readonly multiplyMerged: Pointer;
  /** The same of a matrix in 16-bit floats; see native/merged-floats.h. */
  readonly multiplyMergedFloats: Pointer;
  /** The first of a pair of factors with such activations, as floats. Its data is the first row. */
  readonly multiplyDown: Pointer;
  /** In place: the second of a pair with what the first made, added. Its data is the first row, and above 32 bits the first output. */
  readonly addUp: Pointer;
  /** Attention of rows over the cells of their own sequences. Its data is the window, 0 for none. */
  readonly attend: Pointer;
  /** A token for each row of logits, as native/logits.h draws them. */
  readonly draw: Pointer;
  /** Bytes of so many quantised rows, and of tables for some of them. */
  quantizedBytes(inputs: number, rows: number, tabled: number): number;
  /** Of a tensor, as the kernels see it. */
  tensorBytes(): number;
  /** Asks the system for large pages in memory that was not touched yet; it may do nothing. */
  useLargePages(memory: Pointer, bytes: number): void;
  readonly arrange: ArrangePlanes;
  /** Writes rows of a stored type to `to` as native/base-matrix.h draws them, on a thread of its own. */
  interleave(to: Pointer, from: Uint8Array, type: number, inputs: number, outputs: number): Promise<void>;
  /** Writes rows of 16-bit floats to `to` as native/float-matrix.h draws them, on a thread of its own. */
  interleaveFloats(to: Pointer, from: Uint8Array, inputs: number, outputs: number): Promise<void>;
}

/**
 * Opens a library of kernels.
 *
 * @throws when the file is no such library
 */
export function bindKernels(file: string): {
  /** Of kernels that this processor can run, the fastest first. */
  readonly names: readonly string[];
  bind(name: string): KernelFunctions;
} {
  const lib = koffi.load(file);
  const names = (lib.func("kindred_kernels", "str", []) as () => string)().split(" ");
  return {
    names,
    bind: (kernel) => {
      // Where there is VBMI, all but one product is the same as where there is VNNI alone.
      const name = kernel === "avx512vbmi" ? "avx512vnni" : kernel;
      return {
        quantize: lib.symbol(`kindred_quantize_${name}`),
        quantizeNormed: lib.symbol(`kindred_quantize_normed_${name}`),
        quantizeGated: lib.symbol(`kindred_quantize_gated_${name}`),
        multiply: lib.symbol(`kindred_multiply_${name}`),
        lookUp: lib.symbol(`kindred_look_up_${name}`),
        multiplyFloats: lib.symbol(`kindred_multiply_floats_${name}`),
        lookUpFloats: lib.symbol(`kindred_look_up_floats_${name}`),
        addSigns: lib.symbol(`kindred_signs_${kernel}`),
        lookUpSigns: lib.symbol("kindred_look_up_signs"),
        multiplyMerged: lib.symbol(`kindred_merged_${name}`),
        multiplyMergedFloats: lib.symbol(`kindred_merged_floats_${name}`),
        multiplyDown: lib.symbol(`kindred_factors_down_${name}`),
        addUp: lib.symbol(`kindred_factors_up_${name}`),
        attend: lib.symbol(`kindred_attend_${name}`),
        draw: lib.symbol(`kindred_draw_${name}`),
        quantizedBytes: lib.func("kindred_quantized_bytes", "size_t", ["int64_t", "int64_t", "int64_t"]),
        tensorBytes: lib.func("kindred_tensor_bytes", "size_t", []),
        arrange: bindArrangePlanes(file),
        useLargePages: lib.func("kindred_use_large_pages", "void", [P, "size_t"]),
        interleave: inBackground(
          lib.func(`kindred_interleave_${name}`, "void", [P, "const void*", "int", "int64_t", "int64_t"]),
        ),
        interleaveFloats: inBackground(
          lib.func(`kindred_interleave_floats_${name}`, "void", [P, "const void*", "int64_t", "int64_t"]),
        ),
      };
    },
  };
}

/** Put rows of planes, as ggml has them, to where kernels look for them; see native/sign-planes.h. There are whole strips of outputs. */
export interface ArrangePlanes {
  /** A plane of signs. */
  signs(to: Uint8Array, from: Uint8Array, inputs: number, outputs: number): void;
  /**
   * One of the two planes of signs that a ternary one is the sum of.
   *
   * @param leastTrit of the trits 0, 1 and 2, for which it has a plus: 1 or 2
   */
  ternary(to: Uint8Array, from: Uint8Array, inputs: number, outputs: number, leastTrit: number): void;
}

/** Those functions of a library of kernels, for any thread of a process. */
export function bindArrangePlanes(file: string): ArrangePlanes {
  const lib = koffi.load(file);
  const planes = [P, "const void*", "int64_t", "int64_t"];
  return {
    signs: lib.func("kindred_arrange_signs", "void", planes),
    ternary: lib.func("kindred_arrange_ternary", "void", [...planes, "int"]),
  };
}

/** Turns the code of a plane into the plane, both in native/plane-code.c; 0 where it is none. */
export type DecodePlaneFunction = (
  code: Uint8Array,
  codeBytes: number,
  plane: Uint8Array,
  rows: number,
  cols: number,
  blockSize: number,
  blockBytes: number,
  scaleOffset: number,
) => number;

/** Opens, of a library of kernels, what needs no kernel's instructions. */
export function bindDecodePlane(file: string): DecodePlaneFunction {
  const integers = ["int64_t", "int64_t", "int", "int", "int"];
  return koffi.load(file).func("kindred_decode_plane", "int", ["const void*", "int64_t", P, ...integers]);
}

/** A function of C that runs on one of libuv's threads while JavaScript goes on. */
function inBackground<A extends unknown[]>(fn: ReturnType<LibraryHandle["func"]>): (...args: A) => Promise<void> {
  return (...args) =>
    new Promise((resolve, reject) => {
      fn.async(...args, (error: unknown) => (error ? reject(error) : resolve()));
    });
}

/** The addresses in a null-terminated array of pointers. */
export function pointersAt(array: Pointer, max = 16): Pointer[] {
  const pointers: Pointer[] = [];
  for (let index = 0; index < max; index++) {
    const pointer = koffi.decode(array, index * 8, P) as Pointer | null;
    if (!pointer) break;
    pointers.push(pointer);
  }
  return pointers;
}

/** Native memory as bytes, without a copy. Valid until its owner frees it: never keep it past that. */
export function memoryAt(address: Pointer, byteLength: number): Uint8Array {
  return new Uint8Array(koffi.view(address, byteLength));
}
