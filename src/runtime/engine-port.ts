import type { FromEngine, ToEngine } from "../engine/index.js";

/** The way to an engine, in this process or in its own. */
export interface EnginePort extends AsyncDisposable {
  send(message: ToEngine): void;
  /**
   * Hears everything the engine says after it was ready, and `restarted` when a new engine took the place of one that died: what
   * was submitted to the old one is unknown to the new.
   */
  listen(listener: (message: FromEngine | EngineRestarted) => void): void;
}

export interface EngineRestarted {
  readonly type: "restarted";
  /** The old one was ended from outside, not by something that it computed. */
  readonly wasKilled: boolean;
}
