import path from "node:path";
import { openService } from "../src/cli/wire.js";
import type { Completer } from "../src/core/index.js";
import type { EngineOptions } from "../src/engine/index.js";
import { InlineEngine, LocalCompleter } from "../src/runtime/index.js";
import { withRoomForOne } from "./engine-memory.js";
import { forgetFiles } from "./page-cache.js";
import { median } from "./race.js";
import { describeModel, type FullModel } from "./swap-completer.js";

/** What is started cold. */
export interface ColdStartOptions {
  readonly base: string;
  /** A folder of variants of which one fits at a time, and two of them. */
  readonly variants: string;
  readonly names: readonly [string, string];
  readonly full: FullModel;
  readonly engine: Omit<EngineOptions, "base" | "variants">;
  readonly rounds: number;
  /** From the disk rather than the page cache. */
  readonly isUncached: boolean;
}

/** Milliseconds from a request to its first token, medians over the rounds. */
export interface ColdStart {
  readonly variantMs: number;
  readonly warmMs: number;
  readonly fullMs: number;
  /** Of each round, the full checkpoint's over the variant's. */
  readonly ratio: number;
}

/**
 * Starts a variant that is on disk, under a running server, and a full checkpoint, in turns. Of the
 * checkpoint counts what it takes to have an engine for it: weights, cache and the first token; its tokenizer is there already.
 */
export async function measureColdStart(options: ColdStartOptions): Promise<ColdStart> {
  const { base, variants, names, full, rounds, isUncached } = options;
  const engine = { ...options.engine, sequences: 1 };
  const tight = await withRoomForOne(base, variants, engine);
  await using service = await openService({ base, variants, engine: tight, inline: true });
  const served = await describeModel(full.path, engine.contextLength);
  const times: { variantMs: number; warmMs: number; fullMs: number }[] = [];
  await firstTokenMs(service.completer, names[1]);
  for (let round = 0; round < rounds; round++) {
    const name = names[round % 2]!;
    if (isUncached) for (const folder of [path.join(variants, name), full.path]) forgetFiles(folder);
    const variantMs = await firstTokenMs(service.completer, name);
    const warmMs = await firstTokenMs(service.completer, name);
    const startedMs = performance.now();
    const port = await InlineEngine.start({ ...engine, base: full.path, variants: [] });
    const completer = new LocalCompleter(port, { models: [served], contextLength: port.info.contextLength });
    await firstTokenMs(completer, served.card.id);
    const fullMs = performance.now() - startedMs;
    await port[Symbol.asyncDispose]();
    times.push({ variantMs, warmMs, fullMs });
  }
  return {
    variantMs: median(times.map(({ variantMs }) => variantMs)),
    warmMs: median(times.map(({ warmMs }) => warmMs)),
    fullMs: median(times.map(({ fullMs }) => fullMs)),
    ratio: median(times.map(({ variantMs, fullMs }) => fullMs / variantMs)),
  };
}

async function firstTokenMs(completer: Completer, model: string): Promise<number> {
  const startedMs = performance.now();
  const request = {
    model,
    prompt: { kind: "text", text: "What is the time" },
    sampling: { temperature: 0 },
    maxTokens: 1,
    stop: [],
    topLogprobs: null,
  } as const;
  for await (const event of completer.complete(request, new AbortController().signal)) {
    if (event.type !== "started") break;
  }
  return performance.now() - startedMs;
}
