import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { NativeError } from "../core/index.js";
import { Arena } from "./arena.js";
import { Device } from "./device.js";
import { Graph } from "./graph.js";
import { GraphMemory } from "./graph-memory.js";
import { isInstalled } from "./library.js";

/** A program that has something of every kind open on a device, then does as `end` says. */
const program = (end: string) => `
  import { Arena, Device, Graph, GraphMemory } from ${JSON.stringify(new URL("./index.js", import.meta.url).href)};
  const device = Device.open({ kind: "cpu", threads: 2 });
  const arena = new Arena(device, [{ name: "w", dtype: "f32", shape: [64, 64] }]);
  const memory = new GraphMemory(device);
  const graph = new Graph(device, { tensorsMax: 16 });
  const x = graph.input("x", "f32", [64, 8]);
  const y = graph.mulMat(arena.get("w"), x);
  graph.output(y);
  graph.allocate(memory);
  x.write(new Float32Array(512));
  graph.compute();
  console.log("computed");
  ${end}
`;

/** How a child process ends; `onOutput` is called once it has printed something. */
function run(source: string, onOutput?: (kill: (signal: NodeJS.Signals) => void) => void) {
  return new Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }>((resolve) => {
    const child = spawn(process.execPath, ["--input-type=module", "-e", source]);
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (data) => {
      if (stdout === "") onOutput?.((signal) => child.kill(signal));
      stdout += data;
    });
    child.stderr.on("data", (data) => {
      stderr += data;
    });
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

const quiet = { code: 0, signal: null, stdout: "computed\n", stderr: "" };

test("a process with everything open ends quietly", async () => {
  assert.deepEqual(await run(program("")), quiet);
});

test("a process with everything open may call process.exit", async () => {
  assert.deepEqual(await run(program("process.exit(3)")), { ...quiet, code: 3 });
});

test("an uncaught exception ends the process with its own message and nothing native", async () => {
  const { code, signal, stderr } = await run(program('throw new Error("of the program itself")'));
  assert.deepEqual({ code, signal }, { code: 1, signal: null });
  assert.match(stderr, /of the program itself/);
  assert.doesNotMatch(stderr, /GGML|ggml|Segmentation/);
});

for (const state of ["waits", "computes"] as const) {
  test(`Ctrl-C ends a process that ${state} by that signal and no other`, async () => {
    const busy = state === "waits" ? "setInterval(() => {}, 1000)" : "for (;;) graph.compute()";
    const { code, signal, stderr } = await run(program(busy), (kill) => setTimeout(kill, 50, "SIGINT"));
    assert.deepEqual({ code, signal, stderr }, { code: null, signal: "SIGINT", stderr: "" });
  });
}

test("what was disposed before the device, in whatever order, is not freed again", async () => {
  const end = "for (const it of [arena, graph, device, memory, device, arena]) it[Symbol.dispose]();";
  assert.deepEqual(await run(program(end)), quiet);
});

test("a device can be opened again after it was disposed", () => {
  for (let round = 0; round < 3; round++) {
    using device = Device.open({ kind: "cpu", threads: 2 });
    using arena = new Arena(device, [{ name: "x", dtype: "f32", shape: [4] }]);
    arena.clear();
    assert.match(device.description, /^CPU \(.+\)$/);
    assert.equal(device.threads, 2);
  }
});

test("disposing a device disposes what was made on it, the latest first", () => {
  const device = Device.open({ kind: "cpu", threads: 1 });
  const order: string[] = [];
  const owned = (name: string) => ({ [Symbol.dispose]: () => void order.push(name) });
  device.adopt(owned("first"));
  const released = device.adopt(owned("released"));
  device.adopt(owned("last"));
  released.release();
  device[Symbol.dispose]();
  device[Symbol.dispose]();
  assert.deepEqual(order, ["last", "first"]);
});

test("a kind whose package is missing is a NativeError that says what to install", (t) => {
  const kind = (["cuda", "vulkan"] as const).find((candidate) => !isInstalled(candidate));
  if (kind === undefined || process.platform !== "linux" || process.arch !== "x64") {
    t.skip("every kind's package is installed, or there is none for this platform");
    return;
  }
  assert.throws(() => Device.open({ kind }), {
    name: "NativeError",
    code: "native_error",
    message: `Cannot compute on ${kind}: the package @node-llama-cpp/linux-x64-${kind} is not installed; run npm install @node-llama-cpp/linux-x64-${kind}@3.22.1`,
  });
});

test("a kind that this platform never has is a NativeError that says so", (t) => {
  if (process.platform === "darwin") return t.skip("this platform has metal");
  assert.equal(isInstalled("metal"), false);
  assert.throws(() => Device.open({ kind: "metal" }), /Cannot compute on metal: there is no ggml build of it for/);
});

test("a second kind in one process is refused, for ggml keeps global state", (t) => {
  if (!isInstalled("vulkan")) return t.skip("needs a second installed package, e.g. @node-llama-cpp/linux-x64-vulkan");
  using _ = Device.open({ kind: "cpu", threads: 1 });
  assert.throws(() => Device.open({ kind: "vulkan" }), {
    name: "NativeError",
    message: /this process already computes through/,
  });
});

test("a step too large for the memory is a NativeError, and the next one runs", () => {
  using device = Device.open({ kind: "cpu", threads: 1 });
  using memory = new GraphMemory(device);
  {
    using graph = new Graph(device, { tensorsMax: 8 });
    const x = graph.input("x", "f32", [2 ** 30, 2 ** 14]);
    graph.output(graph.add(x, x));
    assert.throws(
      () => graph.allocate(memory),
      (error: unknown) => {
        assert.ok(error instanceof NativeError);
        assert.match(error.message, /^Cannot allocate the memory of a step on CPU/);
        return true;
      },
    );
    assert.throws(() => graph.compute(), /computed before it was allocated/);
  }
  using graph = new Graph(device, { tensorsMax: 8 });
  const x = graph.input("x", "f32", [2]);
  const y = graph.add(x, x);
  graph.output(y);
  graph.allocate(memory);
  x.write(Float32Array.of(1, 2));
  graph.compute();
  const values = new Float32Array(2);
  y.read(values);
  assert.deepEqual([...values], [2, 4]);
});
