// What would end the process inside ggml must be a GraphError before ggml hears of it. Each case is wrong in one way.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { DType } from "../core/index.js";
import { Device } from "./device.js";
import { Graph, GraphError } from "./graph.js";
import type { Tensor } from "./tensor.js";

const device = Device.open({ kind: "cpu", threads: 1 });
after(() => device[Symbol.dispose]());

type Make = (dtype: DType, ...shape: number[]) => Tensor;

const rope = { dims: 4, base: 10_000, scale: 1, factors: undefined };

const mistakes: readonly [title: string, op: string, build: (g: Graph, t: Make) => unknown][] = [
  ["an input whose rows do not fill blocks", "input", (_, t) => t("q8_0", 31)],
  ["add of shapes that do not repeat", "add", (g, t) => g.add(t("f32", 4, 3), t("f32", 3))],
  ["add of a larger second operand", "add", (g, t) => g.add(t("f32", 4), t("f32", 4, 2))],
  ["add of half floats", "add", (g, t) => g.add(t("f16", 4), t("f16", 4))],
  ["mul of shapes that do not repeat", "mul", (g, t) => g.mul(t("f32", 4, 3), t("f32", 4, 2))],
  ["rmsNorm of half floats", "rmsNorm", (g, t) => g.rmsNorm(t("f16", 4), 1e-5)],
  ["mulMat with different inner dimensions", "mulMat", (g, t) => g.mulMat(t("f32", 4, 3), t("f32", 5, 2))],
  ["mulMat with a 3-D weight", "mulMat", (g, t) => g.mulMat(t("f32", 4, 3, 2), t("f32", 4, 2))],
  ["mulMat of half-float rows", "mulMat", (g, t) => g.mulMat(t("f32", 4, 3), t("f16", 4, 2))],
  ["mulMat by integers", "mulMat", (g, t) => g.mulMat(t("i32", 4, 3), t("f32", 4, 2))],
  [
    "mulMatId with different inner dimensions",
    "mulMatId",
    (g, t) => g.mulMatId(t("f32", 4, 3, 2), t("f32", 5, 2), t("i32", 2)),
  ],
  ["mulMatId with too few ids", "mulMatId", (g, t) => g.mulMatId(t("f32", 4, 3, 2), t("f32", 4, 2), t("i32", 1))],
  ["mulMatId with a table of ids", "mulMatId", (g, t) => g.mulMatId(t("f32", 4, 3, 2), t("f32", 4, 2), t("i32", 2, 2))],
  ["mulMatId with 64-bit ids", "mulMatId", (g, t) => g.mulMatId(t("f32", 4, 3, 2), t("f32", 4, 2), t("i64", 2))],
  ["mulMatId of half-float rows", "mulMatId", (g, t) => g.mulMatId(t("f32", 4, 3, 2), t("f16", 4, 2), t("i32", 2))],
  [
    "mulMatId of rows in three dimensions",
    "mulMatId",
    (g, t) => g.mulMatId(t("f32", 4, 3, 2), t("f32", 4, 2, 2), t("i32", 2)),
  ],
  ["mulMatId over a 4-D pool", "mulMatId", (g, t) => g.mulMatId(t("f32", 4, 3, 2, 2), t("f32", 4, 2), t("i32", 2))],
  ["addRows past the end", "addRows", (g, t) => g.addRows(t("f32", 4, 3), t("f32", 4, 2), 2)],
  ["addRows before the start", "addRows", (g, t) => g.addRows(t("f32", 4, 3), t("f32", 4, 2), -1)],
  ["addRows of rows of another length", "addRows", (g, t) => g.addRows(t("f32", 4, 3), t("f32", 5, 1), 0)],
  ["addRows in three dimensions", "addRows", (g, t) => g.addRows(t("f32", 4, 3), t("f32", 4, 1, 9), 0)],
  ["addRows to half floats", "addRows", (g, t) => g.addRows(t("f16", 4, 3), t("f32", 4, 1), 0)],
  ["getRows from a 3-D tensor", "getRows", (g, t) => g.getRows(t("f32", 4, 3, 2), t("i32", 2))],
  ["getRows by 64-bit numbers", "getRows", (g, t) => g.getRows(t("f32", 4, 3), t("i64", 2))],
  ["getRows by a table of numbers", "getRows", (g, t) => g.getRows(t("f32", 4, 3), t("i32", 2, 1, 2))],
  ["getRows from integers", "getRows", (g, t) => g.getRows(t("i64", 4, 3), t("i32", 2))],
  ["setRows by 32-bit numbers", "setRows", (g, t) => g.setRows(t("f32", 4, 3), t("f32", 4, 2), t("i32", 2))],
  ["setRows with too few numbers", "setRows", (g, t) => g.setRows(t("f32", 4, 3), t("f32", 4, 2), t("i64", 1))],
  ["setRows of rows of another length", "setRows", (g, t) => g.setRows(t("f32", 4, 3), t("f32", 5, 2), t("i64", 2))],
  ["setRows of half floats", "setRows", (g, t) => g.setRows(t("f32", 4, 3), t("f16", 4, 2), t("i64", 2))],
  ["setRows into integers", "setRows", (g, t) => g.setRows(t("i32", 4, 3), t("f32", 4, 2), t("i64", 2))],
  ["setRows in three dimensions", "setRows", (g, t) => g.setRows(t("f32", 4, 3, 1, 2), t("f32", 4, 2), t("i64", 2))],
  ["swiglu of different shapes", "swiglu", (g, t) => g.swiglu(t("f32", 4, 3), t("f32", 4, 2))],
  ["swiglu of different dtypes", "swiglu", (g, t) => g.swiglu(t("f32", 4), t("f16", 4))],
  [
    "swiglu of a window with gaps in two dimensions",
    "swiglu",
    (g, t) => {
      const half = g.view(t("f32", 4, 3, 2), [2, 3, 2], { strides: [16, 48], offset: 0 });
      return g.swiglu(half, half);
    },
  ],
  ["padRows to fewer columns", "padRows", (g, t) => g.padRows(t("f32", 4), 3)],
  ["padRows of blocks", "padRows", (g, t) => g.padRows(t("q8_0", 32), 64)],
  ["reshape to another number of elements", "reshape", (g, t) => g.reshape(t("f32", 4, 3), [4, 4])],
  ["reshape of a window with gaps", "reshape", (g, t) => g.reshape(g.view(t("f32", 4, 3), [2, 3], { offset: 0 }), [6])],
  ["reshape that cuts blocks", "reshape", (g, t) => g.reshape(t("q8_0", 64), [16, 4])],
  ["a view past the end", "view", (g, t) => g.view(t("f32", 4, 3), [4, 2], { offset: 32 })],
  ["a view before the start", "view", (g, t) => g.view(t("f32", 4, 3), [4, 1], { offset: -16 })],
  [
    "a view that repeats rows beyond what the tensor holds",
    "view",
    (g, t) => g.view(t("f32", 4, 3), [4, 9], { strides: [0], offset: 0 }),
  ],
  ["a view that cuts blocks", "view", (g, t) => g.view(t("q8_0", 64), [48], { offset: 0 })],
  ["rows past the end", "view", (g, t) => g.rows(t("f32", 4, 3), 2, 2)],
  ["appendRows of rows of another length", "appendRows", (g, t) => g.appendRows(t("f32", 4, 1), t("f32", 5, 1))],
  ["appendRows of another dtype", "appendRows", (g, t) => g.appendRows(t("f32", 4, 1), t("f16", 4, 1))],
  ["appendRows in four dimensions", "appendRows", (g, t) => g.appendRows(t("f32", 4, 1, 1, 2), t("f32", 4, 1))],
  ["permute onto one axis twice", "permute", (g, t) => g.permute(t("f32", 4, 3), [0, 2, 2, 3])],
  [
    "permute that moves the first dimension",
    "permute",
    (g, t) => g.permute(t("f32", 4, 3), [1, 0, 2, 3] as unknown as [0, 0, 2, 3]),
  ],
  ["rope with too few positions", "rope", (g, t) => g.rope(t("f32", 4, 2, 3), t("i32", 2), rope)],
  ["rope with 64-bit positions", "rope", (g, t) => g.rope(t("f32", 4, 2, 3), t("i64", 3), rope)],
  [
    "rope of more dimensions than a head has",
    "rope",
    (g, t) => g.rope(t("f32", 4, 2, 3), t("i32", 3), { ...rope, dims: 6 }),
  ],
  [
    "rope of an odd number of dimensions",
    "rope",
    (g, t) => g.rope(t("f32", 4, 2, 3), t("i32", 3), { ...rope, dims: 3 }),
  ],
  [
    "rope with too few factors",
    "rope",
    (g, t) => g.rope(t("f32", 4, 2, 3), t("i32", 3), { ...rope, factors: t("f32", 1) }),
  ],
  [
    "rope with half-float factors",
    "rope",
    (g, t) => g.rope(t("f32", 4, 2, 3), t("i32", 3), { ...rope, factors: t("f16", 2) }),
  ],
  ["rope of half floats", "rope", (g, t) => g.rope(t("f16", 4, 2, 3), t("i32", 3), rope)],
  [
    "attend with keys of another size",
    "attend",
    (g, t) => g.attend(t("f32", 4, 2, 2), t("f16", 8, 5, 2), t("f16", 8, 5, 2), t("f16", 5, 2), 1),
  ],
  [
    "attend with fewer values than keys",
    "attend",
    (g, t) => g.attend(t("f32", 4, 2, 2), t("f16", 4, 5, 2), t("f16", 4, 4, 2), t("f16", 5, 2), 1),
  ],
  [
    "attend with keys and values of two dtypes",
    "attend",
    (g, t) => g.attend(t("f32", 4, 2, 2), t("f16", 4, 5, 2), t("f32", 4, 5, 2), t("f16", 5, 2), 1),
  ],
  [
    "attend with heads that do not divide",
    "attend",
    (g, t) => g.attend(t("f32", 4, 2, 3), t("f16", 4, 5, 2), t("f16", 4, 5, 2), t("f16", 5, 2), 1),
  ],
  [
    "attend with another number of sequences",
    "attend",
    (g, t) => g.attend(t("f32", 4, 2, 2, 2), t("f16", 4, 5, 2), t("f16", 4, 5, 2), t("f16", 5, 2, 1, 2), 1),
  ],
  [
    "attend with a narrow mask",
    "attend",
    (g, t) => g.attend(t("f32", 4, 2, 2), t("f16", 4, 5, 2), t("f16", 4, 5, 2), t("f16", 4, 2), 1),
  ],
  [
    "attend with an f32 mask",
    "attend",
    (g, t) => g.attend(t("f32", 4, 2, 2), t("f16", 4, 5, 2), t("f16", 4, 5, 2), t("f32", 5, 2), 1),
  ],
  [
    "attend with half-float queries",
    "attend",
    (g, t) => g.attend(t("f16", 4, 2, 2), t("f16", 4, 5, 2), t("f16", 4, 5, 2), t("f16", 5, 2), 1),
  ],
];

for (const [title, op, build] of mistakes) {
  test(`refuses ${title}`, () => {
    using graph = new Graph(device, { tensorsMax: 16 });
    const made: Tensor[] = [];
    const make: Make = (dtype, ...shape) => {
      made.push(graph.input(`t${made.length}`, dtype, shape));
      return made.at(-1)!;
    };
    assert.throws(
      () => build(graph, make),
      (error: unknown) => {
        assert.ok(error instanceof GraphError, String(error));
        assert.equal(error.code, "graph_error");
        assert.ok(error.message.startsWith(`Cannot build ${op}: `), error.message);
        if (made.length > 0) assert.match(error.message, /; got .*\w+: \w+\[\d+, \d+, \d+, \d+\]/);
        return true;
      },
    );
  });
}

test("names the shapes that met", () => {
  using graph = new Graph(device, { tensorsMax: 16 });
  const weight = graph.input("q_proj", "f16", [64, 32]);
  const x = graph.input("x", "f32", [48, 7]);
  assert.throws(() => graph.mulMat(weight, x), {
    message: "Cannot build mulMat: inner dimensions differ; got q_proj: f16[64, 32, 1, 1] and x: f32[48, 7, 1, 1]",
  });
});

test("a full graph refuses further operations, again and again, and what it holds can still be thrown away", () => {
  using graph = new Graph(device, { tensorsMax: 6 });
  let x = graph.input("x", "f32", [4]);
  const grow = () => {
    for (;;) x = graph.add(x, x);
  };
  for (let attempt = 0; attempt < 20; attempt++) {
    assert.throws(grow, { name: "GraphError", message: /^Cannot build add: the graph is full with 6 tensors; got / });
  }
  assert.throws(() => graph.input("y", "f32", [4]), /Cannot build y: the graph is full/);
});

test("a graph counts the operands it did not make", () => {
  using other = new Graph(device, { tensorsMax: 16 });
  using graph = new Graph(device, { tensorsMax: 4 });
  const foreign = Array.from({ length: 5 }, (_, index) => other.input(`w${index}`, "f32", [4]));
  let x = graph.input("x", "f32", [4]);
  assert.throws(() => {
    for (const weight of foreign) x = graph.add(x, weight);
  }, GraphError);
});
