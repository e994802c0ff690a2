import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import koffi, { type LibraryHandle } from "koffi";
import { NativeError } from "../core/index.js";
import { type BaseFunctions, bindBase, bindRegistry, logCallbackType, type RegistryFunctions } from "./signatures.js";

/** Where a step computes. "cpu" is always there; the others need their optional package beside it. */
export type DeviceKind = "cpu" | "cuda" | "vulkan" | "metal";

/** The ggml that the signatures in this folder were written for; another one is refused rather than guessed at. */
const expectedVersion = "0.25.1";

const packages: Readonly<Record<DeviceKind, Readonly<Record<string, string>>>> = {
  cpu: {
    "linux-x64": "linux-x64",
    "linux-arm64": "linux-arm64",
    "darwin-x64": "mac-x64",
    "darwin-arm64": "mac-arm64-metal",
    "win32-x64": "win-x64",
    "win32-arm64": "win-arm64",
  },
  cuda: { "linux-x64": "linux-x64-cuda", "win32-x64": "win-x64-cuda" },
  vulkan: { "linux-x64": "linux-x64-vulkan", "win32-x64": "win-x64-vulkan" },
  metal: { "darwin-arm64": "mac-arm64-metal" },
};

/** The opened shared libraries: ggml's tensor core and its registry of devices. */
export interface Library {
  /** Where the files lie. */
  readonly folder: string;
  readonly base: BaseFunctions;
  readonly registry: RegistryFunctions;
  readonly version: string;
}

let opened: Library | undefined;
/** Without a registry. */
let core: BaseFunctions | undefined;

/** True when the package that holds `kind`'s library is installed for this platform; says nothing about a driver. */
export function isInstalled(kind: DeviceKind): boolean {
  return libraryFolder(kind) !== undefined;
}

/**
 * Opens the ggml libraries that carry `kind`, once a process: ggml keeps global state, so a second kind from another
 * package is refused. On CPU, ggml itself picks the library compiled for this microarchitecture.
 *
 * @throws {NativeError} when the package is missing, incomplete, or of another version than expected
 */
export function openLibrary(kind: DeviceKind): Library {
  const folder = installedFolder(kind);
  if (opened) {
    if (opened.folder === folder) return opened;
    throw new NativeError(`Cannot open ${folder}: this process already computes through ${opened.folder}`);
  }
  const base = openCore(folder);
  const registry = bindRegistry(loadShared(folder, /^(lib)?ggml(\.(cuda|vulkan|metal))?(\.v[\d.]+)?\.(so|dylib|dll)$/));
  const log = captureLog(base);
  registry.loadAllFromPath(folder);
  log.stop();
  if (registry.deviceCount() === 0)
    throw new NativeError(`No ggml backend in ${folder} runs on this machine: ${log.text()}`);
  opened = { folder, base, registry, version: base.version() };
  return opened;
}

/**
 * The tensor core that this thread computes through, or the CPU's: for conversions, which every one of them has. Opens no devices, so
 * that a thread beside the one that computes can convert as well.
 */
export function tensorCore(): BaseFunctions {
  if (opened) return opened.base;
  core ??= openCore(installedFolder("cpu"));
  return core;
}

/**
 * Collects what ggml has to say while a library or device is opened, for the error if there is one. From then on ggml is silent:
 * what it would write to stderr is chatter, or what a typed error says already.
 */
export function captureLog(base: BaseFunctions): { stop(): void; text(): string } {
  const lines: string[] = [];
  const callback = koffi.register((_level: number, text: string) => void lines.push(text), logCallbackType);
  base.logSet(callback, null);
  return {
    stop: () => {
      base.logSet(base.silence, null);
      koffi.unregister(callback);
    },
    text: () => lines.join("").trim(),
  };
}

/** @throws {NativeError} when it is of another version than expected */
function openCore(folder: string): BaseFunctions {
  const base = bindBase(loadShared(folder, /^(lib)?ggml-base\.(so|dylib|dll)$/));
  const version = base.version();
  if (version === expectedVersion) return base;
  throw new NativeError(
    `Cannot use ggml ${version} in ${folder}: this version of kindred was written for ${expectedVersion}`,
  );
}

/** @throws {NativeError} when there is none */
function installedFolder(kind: DeviceKind): string {
  const folder = libraryFolder(kind);
  if (folder !== undefined) return folder;
  const name = packages[kind][`${process.platform}-${process.arch}`];
  throw new NativeError(
    name
      ? `Cannot compute on ${kind}: the package @node-llama-cpp/${name} is not installed; run npm install @node-llama-cpp/${name}@3.22.1`
      : `Cannot compute on ${kind}: there is no ggml build of it for ${process.platform}-${process.arch}`,
  );
}

function libraryFolder(kind: DeviceKind): string | undefined {
  const name = packages[kind][`${process.platform}-${process.arch}`];
  if (name === undefined) return undefined;
  let entry: string;
  try {
    entry = fileURLToPath(import.meta.resolve(`@node-llama-cpp/${name}`));
  } catch {
    return undefined;
  }
  const bins = path.join(path.dirname(entry), "..", "bins");
  if (!existsSync(bins)) return undefined;
  const folder = readdirSync(bins).find((child) => existsSync(path.join(bins, child, "_nlcBuildMetadata.json")));
  return folder && path.join(bins, folder);
}

function loadShared(folder: string, pattern: RegExp): LibraryHandle {
  const file = readdirSync(folder).find((child) => pattern.test(child));
  if (!file) throw new NativeError(`Cannot open ggml: no file in ${folder} matches ${pattern}`);
  try {
    return koffi.load(path.join(folder, file));
  } catch (cause) {
    throw new NativeError(`Cannot open ${path.join(folder, file)}: ${(cause as Error).message}`, { cause });
  }
}
