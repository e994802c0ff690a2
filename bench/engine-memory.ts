import { openService } from "../src/cli/wire.js";
import { type EngineInfo, type EngineOptions, planMemory, processBytes } from "../src/engine/index.js";

type Options = Omit<EngineOptions, "base" | "variants">;

/** An engine that has, beside its base and what all its requests may come to need, the memory of `resident` full models for `registered` variants. */
export async function withVariantMemory(
  base: string,
  engine: Options,
  full: { readonly bytes: number; readonly resident: number; readonly registered: number },
): Promise<Options> {
  const { division } = await planMemory({ ...engine, base, variants: [] });
  const requestBytes = division.sequences * division.sequenceBytes;
  const { baseBytes, stepBytes } = division;
  const ownBytes = processBytes(full.registered);
  return { ...engine, memoryBytes: ownBytes + baseBytes + stepBytes + requestBytes + full.resident * full.bytes };
}

/** An engine in which one variant has room beside a short request, and no other. */
export async function withRoomForOne(base: string, variants: string, engine: Options): Promise<Options> {
  const brief = { ...engine, contextLength: 128 };
  await using service = await openService({ base, variants, engine: brief, inline: true });
  const { budgetBytes, sharedBytes, sequenceBytes, variantBytes } = service.info.memory;
  return { ...brief, memoryBytes: budgetBytes - sharedBytes + sequenceBytes + variantBytes };
}

/** What an engine said it would take in all. */
export function budgetOf({ memory }: EngineInfo): number {
  return memory.budgetBytes;
}
