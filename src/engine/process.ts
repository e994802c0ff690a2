import { once } from "node:events";
import { errorToData } from "../core/index.js";
import { Engine } from "./engine.js";
import type { FromEngine, StartEngine, ToEngine } from "./messages.js";

// The engine's own process. Its first message has the options; it computes and does nothing else; when the parent goes away, so does it.

const send = (message: FromEngine): void => {
  process.send?.(message);
};

// The terminal sends Ctrl-C to the whole group: the parent decides when this process ends.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});
process.on("disconnect", () => process.exit(0));

try {
  const [start] = (await once(process, "message")) as [StartEngine];
  const engine = await Engine.open(start.options, send);
  globalThis.gc?.(); // reading the base and the variants leaves much that never comes again
  process.on("message", (message: ToEngine) => {
    if (message.type === "submit") engine.submit(message.spec);
    else engine.abort(message.id);
  });
  send({ type: "ready", info: engine.info });
  await engine.run();
} catch (error) {
  process.send?.({ type: "broken", error: errorToData(error) } satisfies FromEngine, () => process.exit(1));
}
