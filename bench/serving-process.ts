// One side of the serving bench, in a process of its own: the client that measures it must not share its event loop. It is told what to
// serve by its first argument and says the rest in messages.

import { openService } from "../src/cli/wire.js";
import type { Completer } from "../src/core/index.js";
import type { EngineInfo, EngineOptions } from "../src/engine/index.js";
import { createApp, listen } from "../src/http/index.js";
import { type FullModel, SwapCompleter } from "./swap-completer.js";

/** What a side serves. */
export type Side = {
  readonly engine: Omit<EngineOptions, "base" | "variants">;
  readonly apiKeys: readonly string[];
} & (
  | {
      readonly kind: "kindred";
      readonly base: string;
      readonly variants: string;
      /** The engine has a process of its own, as `kindred serve` gives it one. */
      readonly isolated: boolean;
    }
  | { readonly kind: "swap"; readonly models: readonly FullModel[]; readonly residentMax: number }
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
  const onLoad = (model: string, tookMs: number) => say({ type: "loaded", model, tookMs });
  if (side.kind === "swap") return { completer: await SwapCompleter.open({ ...side, onLoad }) };
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
