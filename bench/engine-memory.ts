import type { EngineInfo, EngineOptions } from "../src/engine/index.js";

type Options = Omit<EngineOptions, "base" | "variants">;

/** An engine that has, beside its base, the memory of `resident` full models for variants. */
export function withVariantMemory(
  engine: Options,
  full: { readonly bytes: number; readonly resident: number },
): Options {
  return { ...engine, slotBytes: full.resident * full.bytes };
}

/** An engine in which one variant has room. */
export function withRoomForOne(engine: Options): Options {
  return { ...engine, slotBytes: 1 };
}

/** What an engine said it would take in all: base, cache and slots. */
export function budgetOf({ baseBytes, kvBytes, slotBytes }: EngineInfo): number {
  return baseBytes + kvBytes + slotBytes;
}
