import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { errorFromData, errorToData, KindredError } from "../core/index.js";
import {
  type EngineInfo,
  type EngineOptions,
  type FromEngine,
  heapEnvironment,
  heapFlags,
  type StartEngine,
  type ToEngine,
} from "../engine/index.js";
import { assert } from "../util/index.js";
import type { EnginePort } from "./engine-port.js";

/**
 * Deaths in a row after which it is not started again: of engines that computed no step and did not live long. More of them than one
 * request can cause, which is given to three.
 */
const deathsInVainMax = 10;
const longLifeMs = 10_000;
/** What others send; a process that computes something wrong ends with a code or another signal. */
const outsideSignals: ReadonlySet<string> = new Set(["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"]);
const closeMs = 5_000;

type Listener = Parameters<EnginePort["listen"]>[0];

/**
 * An engine in a process of its own, started again when it dies. Native code may take its process down whatever we check; this way
 * it takes nothing else with it.
 */
export class EngineProcess implements EnginePort {
  readonly info: EngineInfo;
  readonly #options: EngineOptions;
  #child: ChildProcess;
  #listener: Listener = () => {};
  #startedMs = performance.now();
  #deathsInVain = 0;
  #closing = false;

  /** @throws {KindredError} what kept the engine from starting */
  static async start(
    options: EngineOptions,
    onMessage: (message: FromEngine) => void = () => {},
  ): Promise<EngineProcess> {
    const { child, info } = await launch(options, onMessage);
    return new EngineProcess(options, child, info);
  }

  private constructor(options: EngineOptions, child: ChildProcess, info: EngineInfo) {
    // One that is started again divides the memory that the first one found.
    this.#options = { ...options, memoryBytes: info.memory.budgetBytes };
    this.info = info;
    this.#child = child;
    this.#attach(child);
  }

  /** The engine's process id, which changes with a restart. */
  get pid(): number {
    assert(this.#child.pid !== undefined, "a started engine has a process");
    return this.#child.pid;
  }

  /** What is sent to an engine that has just died is lost; its successor's `restarted` says to send it again. */
  send(message: ToEngine): void {
    // The pipe may break before the exit is heard of; without a callback that would be an error of this process.
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  listen(listener: Listener): void {
    this.#listener = listener;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), closeMs);
    if (this.#child.connected) this.#child.disconnect();
    await exited;
    clearTimeout(timer);
  }

  #attach(child: ChildProcess): void {
    this.#child = child;
    this.#startedMs = performance.now();
    // An engine that says it is broken exits, and the exit is what is acted on.
    child.on("message", (message: FromEngine) => {
      if (message.type === "step") this.#deathsInVain = 0;
      if (message.type !== "broken") this.#listener(message);
    });
    child.once("exit", (code, signal) => void this.#restart(signal ?? `code ${code}`));
  }

  async #restart(how: string): Promise<void> {
    if (this.#closing) return;
    this.#deathsInVain = performance.now() - this.#startedMs < longLifeMs ? this.#deathsInVain + 1 : 1;
    try {
      const child = await this.#launchAgain(how);
      if (this.#closing) return void child.disconnect(); // disposed while the new one started
      this.#attach(child);
      this.#listener({ type: "restarted", wasKilled: outsideSignals.has(how) });
    } catch (error) {
      this.#listener({ type: "broken", error: errorToData(error) });
    }
  }

  /** @throws {KindredError} what keeps the engine from starting, at once or, where it just dies, after some tries */
  async #launchAgain(how: string): Promise<ChildProcess> {
    while (this.#deathsInVain < deathsInVainMax) {
      try {
        return (await launch(this.#options, () => {})).child;
      } catch (error) {
        if (!(error instanceof EngineDied) || this.#closing) throw error;
        this.#deathsInVain += 1;
      }
    }
    const problem = `The engine died ${this.#deathsInVain} times in a row before it had computed anything (${how})`;
    throw new KindredError("engine_failed", 503, problem);
  }
}

/** An engine ended before it was ready, without a reason. */
class EngineDied extends KindredError {
  constructor(how: string) {
    super("engine_failed", 503, `The engine process ended with ${how} while it started`);
  }
}

async function launch(
  options: EngineOptions,
  onMessage: (message: FromEngine) => void,
): Promise<{ child: ChildProcess; info: EngineInfo }> {
  const entry = fileURLToPath(import.meta.resolve("../engine/process.js"));
  const child = fork(entry, [], {
    serialization: "advanced",
    execArgv: [...process.execArgv, ...heapFlags],
    env: { ...process.env, ...heapEnvironment },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      child.off("message", hear);
      child.off("exit", died);
      act();
    };
    const hear = (message: FromEngine) => {
      if (message.type === "ready") settle(() => resolve({ child, info: message.info }));
      else if (message.type === "broken") settle(() => reject(errorFromData(message.error)));
      else onMessage(message);
    };
    const died = (code: number | null, signal: string | null) =>
      settle(() => reject(new EngineDied(signal ?? `code ${code}`)));
    child.on("message", hear);
    child.once("exit", died);
    child.send({ type: "start", options } satisfies StartEngine, () => {}); // its exit says it
  });
}
