import type { FromEngine, ToEngine } from "../engine/index.js";

/** The way to an engine, in this process or in its own. */
export interface EnginePort extends AsyncDisposable {
  send(message: ToEngine): void;
  /**
   * Hears everything the engine says after it was ready, and `restarted` when a new engine took the place of one that died: what
   * was submitted to the old one is unknown to the new.
   */
  listen(listener: (message: FromEngine | { readonly type: "restarted" }) => void): void;
}
