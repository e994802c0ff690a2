// One side of the serving bench, in a process of its own: the client that measures it must not share its event loop. It is told what to
// serve by its first argument and says the rest in messages.

import { readdirSync } from "node:fs";
import path from "node:path";
import { openService } from "../src/cli/wire.js";
import type { Completer } from "../src/core/index.js";
import type { EngineInfo, EngineOptions } from "../src/engine/index.js";
import { createApp, listen } from "../src/http/index.js";
import { type EnginePort, InlineEngine } from "../src/runtime/index.js";
import { LlamaEngine } from "./llama-engine.js";
import { openLlama } from "./llama-library.js";
import { forgetFiles } from "./page-cache.js";
import { SharedThreads } from "./shared-threads.js";
import { type FullModel, SwapCompleter } from "./swap-completer.js";

/** What a side serves. */
export type Side = {
  readonly engine: Omit<EngineOptions, "base" | "variants">;
  readonly apiKeys: readonly string[];
  /** What is loaded is read from the disk each time. */
  readonly isUncached: boolean;
} & (
  | {
      readonly kind: "kindred";
      readonly base: string;
      readonly variants: string;
      /** The engine has a process of its own, as `kindred serve` gives it one. */
      readonly isolated: boolean;
    }
  | {
      readonly kind: "swap";
      readonly models: readonly FullModel[];
      readonly residentMax: number;
      /** A GGUF file that llama.cpp serves in the place of each. Without it our engine serves them. */
      readonly llamaFile?: string;
    }
);

/** What a side says. */
export type FromSide =
  | {
      readonly type: "listening";
      readonly url: string;
      /** Of Kindred. */
      readonly info?: EngineInfo;
      /** The engine's process where it is another one. */
      readonly enginePid?: number;
    }
  | { readonly type: "loaded"; readonly model: string; readonly tookMs: number }
  /** The answer to any message: the most memory that the process had. */
  | { readonly type: "memory"; readonly peakBytes: number };

interface Opened {
  readonly completer: Completer;
  readonly info?: EngineInfo;
  readonly enginePid?: number | undefined;
}

const say = (message: FromSide) => process.send!(message);
const side = JSON.parse(process.argv[2]!) as Side;
const { completer, info, enginePid } = await open();
const keys = side.apiKeys.length > 0 ? { apiKeys: side.apiKeys } : {};
const server = await listen(createApp({ completer, ...keys }), { port: 0, drainTimeoutMs: 0 });
process.on("message", () => say({ type: "memory", peakBytes: 1024 * process.resourceUsage().maxRSS }));
process.once("disconnect", () => process.exit());
say({
  type: "listening",
  url: `${server.url}/v1`,
  ...(info ? { info } : {}),
  ...(enginePid === undefined ? {} : { enginePid }),
});

async function open(): Promise<Opened> {
  const folders = foldersOf(side);
  const forget = (model: string) => {
    if (side.isUncached) forgetFiles(folders.get(model)!);
  };
  const onLoad = (model: string, tookMs: number) => {
    say({ type: "loaded", model, tookMs });
    forget(model);
  };
  const opened = await openSide(onLoad);
  for (const model of folders.keys()) forget(model);
  return opened;
}

/** Where each model lies. */
function foldersOf(side: Side): ReadonlyMap<string, string> {
  if (side.kind === "swap") return new Map(side.models.map(({ name, path: folder }) => [name, folder]));
  return new Map(readdirSync(side.variants).map((name) => [name, path.join(side.variants, name)]));
}

async function openSide(onLoad: (model: string, tookMs: number) => void): Promise<Opened> {
  if (side.kind === "swap") {
    const { models, residentMax, engine } = side;
    const start = side.llamaFile ? llamaServers(side.llamaFile) : ownEngine;
    const options = { models, residentMax, contextLength: engine.contextLength, start, onLoad };
    return { completer: await SwapCompleter.open(options) };
  }
  const service = await openService({
    base: side.base,
    variants: side.variants,
    engine: side.engine,
    inline: !side.isolated,
    onEvent: (event) => {
      if (event.type === "variantLoaded") onLoad(event.variant, event.tookMs);
    },
  });
  const [refused] = service.info.refused;
  if (refused) throw new Error(`${refused.name}: ${refused.error.message}`);
  return service;
}

function ownEngine(base: string): Promise<EnginePort> {
  return InlineEngine.start({ ...side.engine, base, variants: [] });
}

/** Servers of one file, on one pool of threads: idle ones of each would take cores from the others. */
function llamaServers(file: string): () => Promise<EnginePort> {
  const library = openLlama();
  const { threads: count, sequences, contextLength } = side.engine;
  const threads = new SharedThreads(library, count);
  return async () => new LlamaEngine({ library, file, threads, sequences, contextLength });
}
