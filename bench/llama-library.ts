import { readdirSync } from "node:fs";
import path from "node:path";
import koffi from "koffi";
import { NativeError } from "../src/core/index.js";
import { openLibrary } from "../src/ggml/library.js";
import { bindCpu, type CpuFunctions, logCallbackType, type Pointer } from "../src/ggml/signatures.js";

// What the bench calls of llama.h, laid out as the header of `expectedVersion` declares it. Enumerations are ints.

const expectedVersion = "0.5.0-dev";
const P = "void*";

const modelParams = koffi.struct("llama_model_params", {
  devices: P,
  tensor_buft_overrides: P,
  n_gpu_layers: "int32_t",
  split_mode: "int",
  load_mode: "int",
  lazy_mode: "int",
  main_gpu: "int32_t",
  tensor_split: P,
  progress_callback: P,
  progress_callback_user_data: P,
  kv_overrides: P,
  vocab_only: "bool",
  check_tensors: "bool",
  use_extra_bufts: "bool",
  no_host: "bool",
  no_alloc: "bool",
  load_mtp: "bool",
});

const contextParams = koffi.struct("llama_context_params", {
  n_ctx: "uint32_t",
  n_batch: "uint32_t",
  n_ubatch: "uint32_t",
  n_seq_max: "uint32_t",
  n_rs_seq: "uint32_t",
  n_outputs_max: "uint32_t",
  n_outputs_max_per_seq: "uint32_t",
  n_threads: "int32_t",
  n_threads_batch: "int32_t",
  ctx_type: "int",
  rope_scaling_type: "int",
  pooling_type: "int",
  attention_type: "int",
  flash_attn_type: "int",
  rope_freq_base: "float",
  rope_freq_scale: "float",
  yarn_ext_factor: "float",
  yarn_attn_factor: "float",
  yarn_beta_fast: "float",
  yarn_beta_slow: "float",
  yarn_orig_ctx: "uint32_t",
  defrag_thold: "float",
  cb_eval: P,
  cb_eval_user_data: P,
  type_k: "int",
  type_v: "int",
  abort_callback: P,
  abort_callback_data: P,
  embeddings: "bool",
  offload_kqv: "bool",
  no_perf: "bool",
  op_offload: "bool",
  swa_full: "bool",
  kv_unified: "bool",
  samplers: P,
  n_samplers: "size_t",
  ctx_other: P,
});

const quantizeParams = koffi.struct("llama_model_quantize_params", {
  nthread: "int32_t",
  ftype: "int",
  output_tensor_type: "int",
  token_embedding_type: "int",
  allow_requantize: "bool",
  quantize_output_tensor: "bool",
  only_copy: "bool",
  pure: "bool",
  keep_split: "bool",
  dry_run: "bool",
  imatrix: P,
  kv_overrides: P,
  tt_overrides: P,
  prune_layers: P,
  max_buf_size: "size_t",
});

const batch = koffi.struct("llama_batch", {
  n_tokens: "int32_t",
  token: P,
  embd: P,
  pos: P,
  n_seq_id: P,
  seq_id: P,
  logits: P,
});

/** A struct of parameters by C's field names, as its default function fills it. */
export type Params = Readonly<Record<string, unknown>>;

/** `struct llama_batch`; its arrays are native memory. */
export interface LlamaBatch {
  readonly n_tokens: number;
  readonly token: Pointer;
  readonly embd: Pointer | null;
  readonly pos: Pointer;
  readonly n_seq_id: Pointer;
  readonly seq_id: Pointer;
  readonly logits: Pointer;
}

/** The functions of libllama that the bench calls, and those of ggml's CPU backend beneath it. */
export interface LlamaLibrary {
  readonly version: string;
  readonly ggmlVersion: string;
  readonly cpu: CpuFunctions;
  /** What llama.cpp logged last, for the message of an error. */
  lastWords(): string;
  /** A thread pool with ggml's own defaults, as llama.cpp's tools take them. */
  newThreadpool(threads: number): Pointer | null;
  modelDefaults(): Params;
  contextDefaults(): Params;
  quantizeDefaults(): Params;
  quantize(from: string, to: string, params: Params): number;
  loadModel(path: string, params: Params): Pointer | null;
  freeModel(model: Pointer): void;
  newContext(model: Pointer, params: Params): Pointer | null;
  freeContext(context: Pointer): void;
  attachThreadpool(context: Pointer, decode: Pointer, prefill: Pointer): void;
  memoryOf(context: Pointer): Pointer;
  clearMemory(memory: Pointer, data: boolean): void;
  removeCells(memory: Pointer, sequence: number, from: number, to: number): boolean;
  newBatch(tokens: number, embedding: number, sequences: number): LlamaBatch;
  freeBatch(batch: LlamaBatch): void;
  decode(context: Pointer, batch: LlamaBatch): number;
  synchronize(context: Pointer): void;
  logitsOf(context: Pointer, index: number): Pointer | null;
  vocabularyOf(model: Pointer): Pointer;
  vocabularySize(vocabulary: Pointer): number;
}

/**
 * Opens the libllama that lies beside the ggml which Kindred computes through, so that both sides run the very same kernels.
 *
 * @throws {NativeError} when it is missing or another version than these layouts
 */
export function openLlama(): LlamaLibrary {
  const { folder, base, registry, version: ggmlVersion } = openLibrary("cpu");
  const cpu = bindCpu((name) => base.procAddress(base.deviceRegistry(registry.device(0)), name));
  if (!cpu) throw new NativeError(`Cannot use llama.cpp in ${folder}: its CPU backend does not hand out its functions`);
  const file = readdirSync(folder).find((child) => /^(lib)?llama(\.v[\d.]+)?\.(so|dylib|dll)$/.test(child));
  if (!file) throw new NativeError(`Cannot open llama.cpp: ${folder} holds no libllama`);
  const lib = koffi.load(path.join(folder, file));
  const f = lib.func.bind(lib);
  const version: string = f("llama_version", "str", [])();
  if (version !== expectedVersion) {
    throw new NativeError(`Cannot use llama.cpp ${version} in ${folder}: the bench was written for ${expectedVersion}`);
  }

  const words: string[] = [];
  const keepWords = koffi.register((_level: number, text: string) => {
    words.push(text);
    if (words.length > 20) words.shift();
  }, logCallbackType);
  f("llama_log_set", "void", [logCallbackType, P])(keepWords, null);
  f("llama_backend_init", "void", [])();

  return {
    version,
    ggmlVersion,
    cpu,
    lastWords: () => words.join("").trim(),
    newThreadpool: (threads) => cpu.threadpoolNew(base.threadpoolParamsDefault(threads)),
    modelDefaults: f("llama_model_default_params", modelParams, []),
    contextDefaults: f("llama_context_default_params", contextParams, []),
    quantizeDefaults: f("llama_model_quantize_default_params", quantizeParams, []),
    quantize: f("llama_model_quantize", "uint32_t", ["str", "str", koffi.pointer(quantizeParams)]),
    loadModel: f("llama_model_load_from_file", P, ["str", modelParams]),
    freeModel: f("llama_model_free", "void", [P]),
    newContext: f("llama_init_from_model", P, [P, contextParams]),
    freeContext: f("llama_free", "void", [P]),
    attachThreadpool: f("llama_attach_threadpool", "void", [P, P, P]),
    memoryOf: f("llama_get_memory", P, [P]),
    clearMemory: f("llama_memory_clear", "void", [P, "bool"]),
    removeCells: f("llama_memory_seq_rm", "bool", [P, "int32_t", "int32_t", "int32_t"]),
    newBatch: f("llama_batch_init", batch, ["int32_t", "int32_t", "int32_t"]),
    freeBatch: f("llama_batch_free", "void", [batch]),
    decode: f("llama_decode", "int32_t", [P, batch]),
    synchronize: f("llama_synchronize", "void", [P]),
    logitsOf: f("llama_get_logits_ith", P, [P, "int32_t"]),
    vocabularyOf: f("llama_model_get_vocab", P, [P]),
    vocabularySize: f("llama_vocab_n_tokens", "int32_t", [P]),
  };
}
