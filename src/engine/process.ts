import { errorToData } from "../core/index.js";
import { Engine } from "./engine.js";
import type { EngineOptions, FromEngine, ToEngine } from "./messages.js";

// The engine's own process, forked with its options as JSON in the last argument. It computes and does nothing else; when the parent goes away, so does it.

const send = (message: FromEngine): void => {
  process.send?.(message);
};

// The terminal sends Ctrl-C to the whole group: the parent decides when this process ends.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});
process.on("disconnect", () => process.exit(0));

try {
  const options = JSON.parse(process.argv[2] ?? "") as EngineOptions;
  const engine = await Engine.open(options, send);
  process.on("message", (message: ToEngine) => {
    if (message.type === "submit") engine.submit(message.spec);
    else engine.abort(message.id);
  });
  send({ type: "ready", info: engine.info });
  await engine.run();
} catch (error) {
  process.send?.({ type: "broken", error: errorToData(error) } satisfies FromEngine, () => process.exit(1));
}
