// One side of the serving bench, in a process of its own: the client that measures it must not share its event loop. It is told what to
// serve by its first argument and says the rest in messages.

import { openService } from "../src/cli/wire.js";
import type { Completer } from "../src/core/index.js";
import type { EngineOptions } from "../src/engine/index.js";
import { createApp, listen } from "../src/http/index.js";
import { type FullModel, SwapCompleter } from "./swap-completer.js";

/** What a side serves. */
export type Side = { readonly engine: Omit<EngineOptions, "base" | "variants"> } & (
  | { readonly kind: "kindred"; readonly base: string; readonly variants: string }
  | { readonly kind: "swap"; readonly models: readonly FullModel[]; readonly residentMax: number }
);

/** What a side says. */
export type FromSide =
  | { readonly type: "listening"; readonly url: string }
  | { readonly type: "loaded"; readonly model: string; readonly tookMs: number }
  /** The answer to any message: the most memory that the process had. */
  | { readonly type: "memory"; readonly peakBytes: number };

const say = (message: FromSide) => process.send!(message);
const side = JSON.parse(process.argv[2]!) as Side;
const completer = await open();
const server = await listen(createApp({ completer }), { port: 0, drainTimeoutMs: 0 });
process.on("message", () => say({ type: "memory", peakBytes: 1024 * process.resourceUsage().maxRSS }));
process.once("disconnect", () => process.exit());
say({ type: "listening", url: `${server.url}/v1` });

async function open(): Promise<Completer> {
  const onLoad = (model: string, tookMs: number) => say({ type: "loaded", model, tookMs });
  if (side.kind === "swap") return SwapCompleter.open({ ...side, onLoad });
  const service = await openService({
    base: side.base,
    variants: side.variants,
    engine: side.engine,
    inline: true,
    onEvent: (event) => {
      if (event.type === "variantLoaded") onLoad(event.variant, event.tookMs);
    },
  });
  const [refused] = service.info.refused;
  if (refused) throw new Error(`${refused.name}: ${refused.error.message}`);
  return service.completer;
}
