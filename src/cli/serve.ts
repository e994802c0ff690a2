import { once } from "node:events";
import { type Command, InvalidArgumentError } from "commander";
import type { ServiceEvent } from "../core/index.js";
import { createApp, listen } from "../http/index.js";
import { formatBytes } from "../util/index.js";
import { describeMemory } from "./memory-table.js";
import { type EngineFlags, engineFlags, engineOptions, pinFlag, sequencesFlag } from "./options.js";
import { openService, type Service } from "./wire.js";

interface Flags extends EngineFlags {
  readonly sequences: number;
  readonly base: string;
  readonly variants?: string;
  readonly name?: string;
  readonly host: string;
  readonly port: number;
  readonly apiKey?: readonly string[];
  readonly pin?: readonly string[];
}

export function register(program: Command): void {
  const command = program
    .command("serve")
    .description("serve the base and its variants behind the OpenAI API")
    .requiredOption("--base <path>", "a Hugging Face folder or a GGUF file")
    .option(
      "--variants <folder>",
      "a folder whose subfolders are delta artifacts or PEFT adapters, each served under its folder's name",
    )
    .option("--name <name>", "what clients call the base (default: the name of its folder or file)")
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--port <number>", "port to listen on; 0 takes a free one", port, 8000)
    .option("--api-key <key...>", "keys that clients must send one of (default: none needed)");
  pinFlag(sequencesFlag(engineFlags(command))).action(serve);
}

async function serve(flags: Flags): Promise<void> {
  await using service = await openService({
    base: flags.base,
    variants: flags.variants,
    name: flags.name,
    engine: { ...engineOptions(flags, flags.sequences), pinned: flags.pin ?? [] },
    onLoading: loadingLine(),
    onEvent: logEvent,
  });
  const app = createApp({ completer: service.completer, ...(flags.apiKey ? { apiKeys: flags.apiKey } : {}) });
  const server = await listen(app, { host: flags.host, port: flags.port });
  console.log(describe(service));
  console.log(`Listening on ${server.url}/v1`);
  const [signal] = (await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")])) as [string];
  console.log(`${signal}: finishing the answers under way; once more to leave at once`);
  process.once("SIGINT", () => process.exit(130));
  await server.close();
}

/** What was loaded and what was left out, in a few lines. */
export function describe({ baseId, completer, info }: Service): string {
  const variants = completer.models().filter(({ parent }) => parent !== null);
  return [
    `${baseId} on ${info.device}, ${info.threads} threads; ${info.kernels}`,
    describeMemory(info.memory, info.contextLength),
    `${variants.length} variants, ${info.memory.variantsMax} of them resident at once; ${info.sequences} requests at once`,
    ...info.refused.map(({ name, error }) => `Left out ${name}: ${error.message}`),
  ].join("\n");
}

/** Says how far a long load has come, a line each quarter; a short one says nothing. */
function loadingLine(): (progress: { bytesDone: number; bytesTotal: number }) => void {
  const startedMs = performance.now();
  let quarters = 0;
  return ({ bytesDone, bytesTotal }) => {
    const reached = Math.floor((4 * bytesDone) / bytesTotal);
    if (reached === quarters || performance.now() - startedMs < 1000) return;
    quarters = reached;
    console.log(`Loading: ${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}`);
  };
}

function logEvent(event: ServiceEvent): void {
  if (event.type === "variantLoaded") {
    console.log(
      `Loaded ${event.variant}: ${formatBytes(event.bytes)} in ${event.tookMs.toFixed(1)} ms, expected ${event.expectedMs.toFixed(1)}`,
    );
  } else if (event.type === "engineRestarted") {
    console.log(`The engine died and was started again; ${event.sequences} requests continue`);
  }
}

function port(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 65535)
    throw new InvalidArgumentError("expected a port, 0 to 65535");
  return value;
}
