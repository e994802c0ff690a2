import { createApp, listen } from "../http/index.js";
import type { BenchFlags } from "./bench-flags.js";
import { engineOptions } from "./options.js";
import { describe } from "./serve.js";
import { openService } from "./wire.js";

/** A server that is there for the time of a run. Disposing it ends it. */
export interface BenchServer extends AsyncDisposable {
  /** Where its API begins. */
  readonly url: string;
  /** What was loaded, in a few lines. */
  readonly description: string;
  /** Every variant that was loaded since the start, with the time of `performance.now()`. */
  readonly loads: readonly { readonly model: string; readonly atMs: number }[];
}

/** Serves a base and its variants on a free port of this machine. @throws {KindredError} when the base cannot be served */
export async function startBenchServer(base: string, flags: BenchFlags): Promise<BenchServer> {
  const loads: { model: string; atMs: number }[] = [];
  const service = await openService({
    base,
    variants: flags.variants,
    engine: engineOptions(flags, flags.sequences),
    onEvent: (event) => {
      if (event.type === "variantLoaded") loads.push({ model: event.variant, atMs: performance.now() });
    },
  });
  const app = createApp({ completer: service.completer, ...(flags.apiKey ? { apiKeys: flags.apiKey } : {}) });
  const server = await listen(app, { port: 0, drainTimeoutMs: 0 });
  return {
    url: `${server.url}/v1`,
    description: describe(service),
    loads,
    async [Symbol.asyncDispose]() {
      await server.close();
      await service[Symbol.asyncDispose]();
    },
  };
}
