import path from "node:path";
import { fileURLToPath } from "node:url";
import { type Compiled, type CompileOptions, compile } from "./compiler.js";
import type { DeviceKind } from "./library.js";
import { bindKernels, type KernelFunctions } from "./signatures.js";

/** Products of our own for the CPU, compiled from `native/` on this machine. */
export interface Kernels extends KernelFunctions {
  /** The instructions they are made of: `avx512vbmi`, `avx512vnni`, `avx2`, `neon` or `scalar`. */
  readonly name: string;
  /** The library, which other threads of this process can open as well. */
  readonly file: string;
}

/** The kernels of this machine, if it has any, and a line for people about which or why not. */
export interface LoadedKernels {
  readonly kernels: Kernels | undefined;
  readonly summary: string;
}

/** How kernels are come by. */
export interface KernelOptions extends Partial<CompileOptions> {
  /**
   * `auto` takes the fastest that the processor has instructions for; `none` leaves all products to ggml; a kernel's name takes that
   * one. Default `$KINDRED_KERNELS`, or `auto`.
   */
  readonly choice?: string;
  /** What computes. Default: the CPU; other devices have none. */
  readonly device?: DeviceKind;
}

/** Beside `dist/`, in the repository as in the package. */
const nativeFolder = fileURLToPath(new URL("../../native", import.meta.url));
/** As fast as ggml's own product, if at all: taken only by name, to be held against the others. */
const slowKernel = "scalar";

/**
 * Compiles the kernels or finds them compiled, and takes those of this processor. Never throws: without them the same
 * products are built from ggml's operations.
 */
export async function loadKernels({ choice, device = "cpu", ...options }: KernelOptions = {}): Promise<LoadedKernels> {
  if (device !== "cpu") return without(`the device is ${device}`);
  const wanted = choice ?? (process.env.KINDRED_KERNELS || "auto");
  if (wanted === "none") return without("turned off");
  if (process.platform === "win32") return without("they are not built on Windows");
  const compiled: Compiled = await compile({ sources: nativeFolder, ...options });
  if ("problem" in compiled) return without(compiled.problem);
  try {
    return pick(compiled.file, wanted);
  } catch (error) {
    return without(`${path.basename(compiled.file)} does not load: ${(error as Error).message}`);
  }
}

function pick(file: string, wanted: string): LoadedKernels {
  const { names, bind } = bindKernels(file);
  const name = wanted === "auto" ? names.find((own) => own !== slowKernel) : names.find((own) => own === wanted);
  if (!name) {
    const which = wanted === "auto" ? "no vector instructions that they are made of" : `none named ${wanted}`;
    return without(`this processor has ${which}`);
  }
  return { kernels: { name, file, ...bind(name) }, summary: `native kernels: ${name}` };
}

const without = (reason: string): LoadedKernels => ({ kernels: undefined, summary: `native kernels: none: ${reason}` });
