// How an engine's memory is divided.
//
//   ┌─────────┬──────────────┬──────────────┬───────┬──────────────────────────────────────────────┐
//   │ process │ base weights │ step buffers │ fixed │ shared: cells of sequences, slots of variants │
//   └─────────┴──────────────┴──────────────┴───────┴──────────────────────────────────────────────┘
//
// The process is what it has beside the rest (process-bytes.ts). Fixed is what pools and cache take while nothing is in them. Where memory is not had in pages that is all of both, each with a share of its
// own from the start, and nothing is shared.

import { type ErrorData, errorToData, InsufficientMemory, type ModelConfig } from "../core/index.js";
import {
  cellBytes,
  type KvDType,
  type PoolLayout,
  poolSizes,
  poolSpecs,
  sharedCellBytes,
  variantBytes,
} from "../model/index.js";
import { assert } from "../util/index.js";
import { oneOfEach, pagedPoolLayout, poolLayout } from "./pool-layout.js";
import type { RegisteredVariant } from "./variants.js";

/** What a division is made for. */
export interface MemoryDemands {
  readonly budgetBytes: number;
  /** What the process has beside the rest, where the budget is the process's; 0 where it is of a device with memory of its own. */
  readonly processBytes: number;
  readonly baseBytes: number;
  readonly stepBytes: number;
  readonly config: ModelConfig;
  readonly kvDType: KvDType;
  readonly contextLength: number;
  readonly sequences: number;
  readonly variants: ReadonlyMap<string, Pick<RegisteredVariant, "classes" | "vocabSize" | "untied" | "needs">>;
  /** Variants that are always resident. */
  readonly pinned: readonly string[];
  /** What memory is had in; 1 where it is not had in pages. */
  readonly page: number;
}

/** How the memory is divided, in bytes. */
export interface MemoryDivision {
  readonly budgetBytes: number;
  /** What the process has beside the rest. */
  readonly processBytes: number;
  readonly baseBytes: number;
  readonly stepBytes: number;
  readonly fixedBytes: number;
  /** Of cells and slots, whoever needs them. */
  readonly sharedBytes: number;
  /** Of it, what pinned variants always have. */
  readonly pinnedBytes: number;
  /** What a sequence of the whole context takes. */
  readonly sequenceBytes: number;
  /** What the largest variant takes; 0 without variants. */
  readonly variantBytes: number;
  /** Sequences that run at once at most. */
  readonly sequences: number;
  /** Registered variants that can be resident at once if all are as large as the largest, beside one sequence of the whole context. */
  readonly variantsMax: number;
}

/** A division with what it is made of. */
export interface DividedMemory {
  readonly division: MemoryDivision;
  readonly layout: PoolLayout | undefined;
  /** What each variant takes that is not refused. */
  readonly variantBytes: ReadonlyMap<string, number>;
  /** Variants that would not fit if they had everything. */
  readonly refused: readonly { readonly name: string; readonly error: ErrorData }[];
}

/**
 * Divides memory. A variant must fit beside a sequence of the whole context and the pinned ones, so that every request can be served by making
 * others wait.
 *
 * @throws {InsufficientMemory} when there is not enough for the base, one sequence and the pinned variants
 */
export function divideMemory(demands: MemoryDemands): DividedMemory {
  return demands.page > 1 ? sharedDivision(demands) : fixedDivision(demands);
}

function sharedDivision(demands: MemoryDemands): DividedMemory {
  const { budgetBytes, config, variants, pinned, page } = demands;
  const cells = { ...demands, dtype: demands.kvDType };
  const layout = pagedPoolLayout(config, [...variants.values()], { budgetBytes, page });
  const sizes = layout && poolSizes(poolSpecs(config, layout), page);
  const bytesOf = ({ needs }: { needs: Iterable<string> }) => (sizes ? variantBytes(sizes, needs) : 0);
  const fixedBytes = (sizes?.fixedBytes ?? 0) + demands.sequences * sharedCellBytes(cells);
  const sequenceBytes = cellBytes(cells, demands.contextLength);
  const pinnedBytes = pinned.reduce((sum, name) => sum + bytesOf(known(variants, name)), 0);
  const taken = demands.processBytes + demands.baseBytes + demands.stepBytes + fixedBytes + sequenceBytes;
  if (taken + pinnedBytes > budgetBytes) throw tooSmall(demands, { fixedBytes, sequenceBytes, pinnedBytes });
  const refused = refuse(demands, { fixedBytes, sequenceBytes, pinnedBytes }, bytesOf);
  const left = new Map(
    [...variants].flatMap(([name, own]) =>
      refused.some((other) => other.name === name) ? [] : [[name, bytesOf(own)] as const],
    ),
  );
  const largest = Math.max(0, ...left.values());
  const sharedBytes = budgetBytes - demands.processBytes - demands.baseBytes - demands.stepBytes - fixedBytes;
  const free = sharedBytes - sequenceBytes - pinnedBytes;
  const unpinned = left.size - pinned.length;
  return {
    layout,
    variantBytes: left,
    refused,
    division: {
      ...partsOf(demands),
      fixedBytes,
      sharedBytes,
      pinnedBytes,
      sequenceBytes,
      variantBytes: largest,
      sequences: demands.sequences,
      variantsMax: pinned.length + (largest > 0 ? Math.min(unpinned, Math.floor(free / largest)) : 0),
    },
  };
}

/** Shares for the cache and for the pools that stay what they are: as many regions as asked for, or as leave room for a slot of each class. */
function fixedDivision(demands: MemoryDemands): DividedMemory {
  const { budgetBytes, config, pinned } = demands;
  const cells = { ...demands, dtype: demands.kvDType };
  const sequenceBytes = cellBytes(cells, demands.contextLength);
  const bytesOfLayout = (layout: PoolLayout) => poolsBytes(config, layout);
  const bytesAlone = (own: Parameters<typeof oneOfEach>[1][number]) => bytesOfLayout(oneOfEach(config, [own])!);
  const refused = refuse(demands, { fixedBytes: 0, sequenceBytes, pinnedBytes: 0 }, bytesAlone);
  const left = [...demands.variants].filter(([name]) => !refused.some((other) => other.name === name));
  const variants = left.map(([, own]) => own);
  const least = oneOfEach(config, variants);
  const leastBytes = least ? bytesOfLayout(least) : 0;
  const free = budgetBytes - demands.processBytes - demands.baseBytes - demands.stepBytes - leastBytes;
  const sequences = Math.min(demands.sequences, Math.floor(free / sequenceBytes));
  if (sequences < 1) throw tooSmall(demands, { fixedBytes: leastBytes, sequenceBytes, pinnedBytes: 0 });
  const kvBytes = sequences * sequenceBytes;
  const layout = poolLayout(config, variants, free + leastBytes - kvBytes);
  for (const name of pinned) known(demands.variants, name);
  const fixedBytes = kvBytes + (layout ? bytesOfLayout(layout) : 0);
  return {
    layout,
    variantBytes: new Map(left.map(([name, own]) => [name, bytesAlone(own)])),
    refused,
    division: {
      ...partsOf(demands),
      fixedBytes,
      sharedBytes: 0,
      pinnedBytes: 0,
      sequenceBytes: 0,
      variantBytes: 0,
      sequences,
      variantsMax: layout?.variants ?? 0,
    },
  };
}

interface Parts {
  readonly fixedBytes: number;
  readonly sequenceBytes: number;
  readonly pinnedBytes: number;
}

function partsOf({ budgetBytes, processBytes, baseBytes, stepBytes }: MemoryDemands) {
  return { budgetBytes, processBytes, baseBytes, stepBytes };
}

/** As errors name it. */
function processPart({ processBytes }: MemoryDemands): Readonly<Record<string, number>> {
  return processBytes > 0 ? { "the process": processBytes } : {};
}

/** The variants that do not fit even if nobody else had anything. */
function refuse(
  demands: MemoryDemands,
  { fixedBytes, sequenceBytes, pinnedBytes }: Parts,
  bytesOf: (variant: Pick<RegisteredVariant, "classes" | "vocabSize" | "untied" | "needs">) => number,
): DividedMemory["refused"] {
  const { budgetBytes, processBytes, baseBytes, stepBytes, variants, pinned } = demands;
  const free = budgetBytes - processBytes - baseBytes - stepBytes - fixedBytes - sequenceBytes - pinnedBytes;
  return [...variants]
    .filter(([name, own]) => !pinned.includes(name) && bytesOf(own) > free)
    .map(([name, own]) => {
      const error = new InsufficientMemory(`serve variant ${name}`, {
        budgetBytes,
        parts: {
          ...processPart(demands),
          "the base": baseBytes,
          "the buffers of a step": stepBytes + fixedBytes,
          [`a request of ${demands.contextLength} tokens`]: sequenceBytes,
          ...(pinnedBytes > 0 ? { "pinned variants": pinnedBytes } : {}),
          "its own parts": bytesOf(own),
        },
      });
      return { name, error: errorToData(error) };
    });
}

function tooSmall(demands: MemoryDemands, { fixedBytes, sequenceBytes, pinnedBytes }: Parts): InsufficientMemory {
  return new InsufficientMemory("start", {
    budgetBytes: demands.budgetBytes,
    parts: {
      ...processPart(demands),
      "the base": demands.baseBytes,
      "the buffers of a step": demands.stepBytes + fixedBytes,
      [`one request of ${demands.contextLength} tokens (--context)`]: sequenceBytes,
      ...(demands.pinned.length > 0 ? { "pinned variants": pinnedBytes } : {}),
    },
  });
}

function known<T>(variants: ReadonlyMap<string, T>, name: string): T {
  const variant = variants.get(name);
  assert(variant !== undefined, `${name} is pinned and not registered`);
  return variant;
}

/** All memory of pools whose slots have theirs from the start. */
function poolsBytes(config: ModelConfig, layout: PoolLayout): number {
  const { slotBytes, rowBytes, fixedBytes } = poolSizes(poolSpecs(config, layout), 1);
  const inSlots = [...layout.classes].reduce((sum, [id, { slots }]) => sum + slots * slotBytes.get(id)!, 0);
  return fixedBytes + inSlots + layout.variants * rowBytes;
}
