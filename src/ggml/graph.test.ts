import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Arena } from "./arena.js";
import { Device } from "./device.js";
import { assertClose, evaluate, noise, product } from "./evaluate.test.kit.js";
import { Graph } from "./graph.js";
import { GraphMemory } from "./graph-memory.js";
import type { Tensor } from "./tensor.js";

const device = Device.open({ kind: "cpu", threads: 2 });
after(() => device[Symbol.dispose]());

test("add and mul repeat the second operand over rows, over blocks and along a dimension of one", () => {
  const a = noise(4 * 3 * 2, 1);
  const scale = noise(4, 2);
  const sum = evaluate(device, (g, input) => g.add(input("f32", [4, 3, 2], a), input("f32", [4], scale)));
  assertClose(
    sum,
    a.map((value, at) => value + scale[at % 4]!),
  );

  const perBlock = noise(4 * 2, 3);
  const scaled = evaluate(device, (g, input) => g.mul(input("f32", [4, 3, 2], a), input("f32", [4, 1, 2], perBlock)));
  assertClose(
    scaled,
    a.map((value, at) => value * perBlock[Math.floor(at / 12) * 4 + (at % 4)]!),
  );

  const perRow = noise(3, 4);
  const narrow = evaluate(device, (g, input) =>
    g.mul(input("f32", [4, 3], a.slice(0, 12)), input("f32", [1, 3], perRow)),
  );
  assertClose(
    narrow,
    a.slice(0, 12).map((value, at) => value * perRow[Math.floor(at / 4)]!),
  );
});

test("rmsNorm divides each row by its root mean square, with eps under the root", () => {
  const x = noise(5 * 3, 1);
  const eps = 0.01;
  const normed = evaluate(device, (g, input) => g.rmsNorm(input("f32", [5, 3], x), eps));
  const expected = x.map((value, at) => {
    const row = x.slice(at - (at % 5), at - (at % 5) + 5);
    return value / Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / 5 + eps);
  });
  assertClose(normed, expected);
});

test("mulMat multiplies each row of x by the matrix", () => {
  const [w, x] = [noise(37 * 5, 1), noise(37 * 3, 2)];
  const y = evaluate(device, (g, input) => g.mulMat(input("f32", [37, 5], w), input("f32", [37, 3], x)));
  assertClose(y, product(w, x, 37));
});

test("mulMatId multiplies each row by the matrix that its id names, whatever the order of the ids", () => {
  const [columns, out, slots] = [8, 6, 4];
  const pool = noise(columns * out * slots, 1);
  const ids = [3, 0, 3, 1, 0];
  const x = noise(columns * ids.length, 2);
  const y = evaluate(device, (g, input) =>
    g.mulMatId(input("f32", [columns, out, slots], pool), input("f32", [columns, 5], x), input("i32", [5], ids)),
  );
  const expected = ids.flatMap((slot, row) =>
    product(
      pool.slice(slot * columns * out, (slot + 1) * columns * out),
      x.slice(row * columns, (row + 1) * columns),
      columns,
    ),
  );
  assertClose(y, expected);
});

test("addRows adds to the rows from the given one on and leaves the others", () => {
  const [a, b] = [noise(3 * 4, 1), noise(3 * 2, 2)];
  const sum = evaluate(device, (g, input) => {
    const computed = g.add(input("f32", [3, 4], a), input("f32", [1], [0]));
    return g.addRows(computed, input("f32", [3, 2], b), 1);
  });
  assertClose(
    sum,
    a.map((value, at) => value + (at >= 3 && at < 9 ? b[at - 3]! : 0)),
  );
});

test("getRows picks rows by number, repeated ones too", () => {
  const table = noise(3 * 4, 1);
  const picked = evaluate(device, (g, input) => g.getRows(input("f32", [3, 4], table), input("i32", [3], [2, 0, 2])));
  assert.deepEqual(picked, Float32Array.from([2, 0, 2].flatMap((row) => [...table.subarray(row * 3, row * 3 + 3)])));
});

test("setRows writes rows into an arena's tensor, rounded to its dtype, and leaves the others", () => {
  using arena = new Arena(device, [{ name: "cache", dtype: "f16", shape: [2, 4] }]);
  arena.clear();
  const kept = evaluate(device, (g, input) => {
    g.expand(g.setRows(arena.get("cache"), input("f32", [2, 2], [1, 2, 3.0001, 4]), input("i64", [2], [3, 1])));
    return g.getRows(arena.get("cache"), input("i32", [4], [0, 1, 2, 3]));
  });
  assert.deepEqual([...kept], [0, 0, 3, 4, 0, 0, 1, 2]);
});

test("swiglu is silu of the gate times up", () => {
  const [gate, up] = [noise(7 * 2, 1), noise(7 * 2, 2)];
  const y = evaluate(device, (g, input) => g.swiglu(input("f32", [7, 2], gate), input("f32", [7, 2], up)));
  assertClose(
    y,
    gate.map((value, at) => (value / (1 + Math.exp(-value))) * up[at]!),
    1e-5,
  );
});

test("padRows appends zeros to each row, and is one tensor however often it is asked", () => {
  const padded = evaluate(device, (g, input) => {
    const x = input("f32", [2, 2], [1, 2, 3, 4]);
    assert.equal(g.padRows(x, 4), g.padRows(x, 4));
    assert.equal(g.padRows(x, 2), x);
    return g.padRows(x, 4);
  });
  assert.deepEqual([...padded], [1, 2, 0, 0, 3, 4, 0, 0]);
});

test("reshape keeps the order of the elements", () => {
  const x = noise(12, 1);
  const y = evaluate(device, (g, input) => g.reshape(input("f32", [4, 3], x), [2, 3, 2]));
  assert.deepEqual(y, x);
});

test("rows and view are windows: a slice of rows, or a slice of each row", () => {
  const x = noise(4 * 5, 1);
  const middle = evaluate(device, (g, input) => {
    const all = input("f32", [4, 5], x);
    assert.equal(g.rows(all, 0, 5), all);
    assert.equal(g.rows(all, 1, 2), g.rows(all, 1, 2));
    return g.add(g.rows(all, 1, 2), input("f32", [1], [0]));
  });
  assert.deepEqual(middle, x.slice(4, 12));

  const columns = evaluate(device, (g, input) =>
    g.add(g.view(input("f32", [4, 5], x), [2, 3], { strides: [2 * 16], offset: 4 }), input("f32", [1], [0])),
  );
  assert.deepEqual(
    [...columns],
    [1, 2, 9, 10, 17, 18].map((at) => x[at]!),
    "columns 1 and 2 of every second row",
  );
});

test("permute moves dimension i to axes[i]", () => {
  const x = noise(2 * 3 * 4, 1);
  const y = evaluate(device, (g, input) =>
    g.add(g.permute(input("f32", [2, 3, 4], x), [0, 2, 1, 3]), input("f32", [1], [0])),
  );
  const expected = Float32Array.from(
    x,
    (_, at) => x[(at % 2) + 2 * (Math.floor(at / 8) + 3 * (Math.floor(at / 2) % 4))]!,
  );
  assert.deepEqual(y, expected);
});

test("appendRows puts the rows of b after those of a", () => {
  const joined = evaluate(device, (g, input) =>
    g.appendRows(input("f32", [2, 1], [1, 2]), input("f32", [2, 2], [3, 4, 5, 6])),
  );
  assert.deepEqual([...joined], [1, 2, 3, 4, 5, 6]);
});

/** Rotary positions as the papers write them: the halves of a head are the real and imaginary parts of `dims / 2` numbers. */
function rotate(
  x: Float32Array,
  shape: [number, number, number],
  positions: number[],
  angle: (pair: number) => number,
): number[] {
  const [headDim, heads] = shape;
  const half = headDim / 2;
  return Array.from(x, (value, at) => {
    const place = at % headDim;
    const theta = positions[Math.floor(at / (headDim * heads))]! * angle(place % half);
    const other = x[place < half ? at + half : at - half]!;
    return value * Math.cos(theta) + (place < half ? -other : other) * Math.sin(theta);
  });
}

test("rope turns each pair of a head by position times frequency", () => {
  const x = noise(8 * 2 * 3, 1);
  const positions = [0, 5, 300];
  const rope = { dims: 8, base: 10_000, scale: 1, factors: undefined };
  const turned = evaluate(device, (g, input) => g.rope(input("f32", [8, 2, 3], x), input("i32", [3], positions), rope));
  assertClose(
    turned,
    rotate(x, [8, 2, 3], positions, (pair) => 10_000 ** (-pair / 4)),
    1e-4,
  );
});

test("rope's scale multiplies positions and its factors divide frequencies", () => {
  const x = noise(8 * 1 * 2, 1);
  const positions = [7, 40];
  const divisors = [1, 1.5, 4, 8];
  const turned = evaluate(device, (g, input) => {
    const rope = { dims: 8, base: 500, scale: 0.25, factors: input("f32", [4], divisors) };
    return g.rope(input("f32", [8, 1, 2], x), input("i32", [2], positions), rope);
  });
  assertClose(
    turned,
    rotate(x, [8, 1, 2], positions, (pair) => (0.25 * 500 ** (-pair / 4)) / divisors[pair]!),
    1e-4,
  );
});

for (const dtype of ["f32", "f16"] as const) {
  test(`attend over ${dtype} keys and values is masked softmax attention with grouped heads`, () => {
    const [headDim, rows, heads, cells, kvHeads, sequences] = [8, 3, 4, 5, 2, 2];
    const q = noise(headDim * rows * heads * sequences, 1);
    const k = noise(headDim * cells * kvHeads * sequences, 2);
    const v = noise(headDim * cells * kvHeads * sequences, 3);
    const isSeen = (cell: number, row: number, sequence: number) => cell <= row + sequence;
    const mask = Array.from({ length: cells * rows * sequences }, (_, at) =>
      isSeen(at % cells, Math.floor(at / cells) % rows, Math.floor(at / (cells * rows))) ? 0 : Number.NEGATIVE_INFINITY,
    );
    const scale = 0.5;
    const out = evaluate(device, (g, input) =>
      g.attend(
        input("f32", [headDim, rows, heads, sequences], q),
        input(dtype, [headDim, cells, kvHeads, sequences], k),
        input(dtype, [headDim, cells, kvHeads, sequences], v),
        input("f16", [cells, rows, 1, sequences], mask),
        scale,
      ),
    );

    const expected: number[] = [];
    for (let sequence = 0; sequence < sequences; sequence++) {
      for (let row = 0; row < rows; row++) {
        for (let head = 0; head < heads; head++) {
          const query = headDim * (row + rows * (head + heads * sequence));
          const first = headDim * cells * (Math.floor(head / (heads / kvHeads)) + kvHeads * sequence);
          const weights = Array.from({ length: cells }, (_, cell) => {
            if (!isSeen(cell, row, sequence)) return 0;
            let dot = 0;
            for (let d = 0; d < headDim; d++) dot += q[query + d]! * k[first + headDim * cell + d]!;
            return Math.exp(scale * dot);
          });
          const total = weights.reduce((sum, weight) => sum + weight, 0);
          for (let d = 0; d < headDim; d++) {
            expected.push(
              weights.reduce((sum, weight, cell) => sum + (weight / total) * v[first + headDim * cell + d]!, 0),
            );
          }
        }
      }
    }
    assertClose(out, expected, dtype === "f32" ? 1e-5 : 2e-3);
  });
}

test("an input that no operation takes can be written all the same", () => {
  const kept = evaluate(device, (g, input) => {
    input("i32", [3], [1, 2, 3]);
    return g.add(input("f32", [2], [1, 2]), input("f32", [1], [1]));
  });
  assert.deepEqual([...kept], [2, 3]);
});

test("a graph runs again on new inputs, and two graphs share one memory in turn", () => {
  using memory = new GraphMemory(device);
  const run = (graph: Graph, x: ReturnType<Graph["input"]>, y: ReturnType<Graph["input"]>, value: number) => {
    x.write(new Float32Array([value]));
    graph.compute();
    const result = new Float32Array(1);
    y.read(result);
    return result[0];
  };
  using first = new Graph(device, { tensorsMax: 8 });
  const x = first.input("x", "f32", [1]);
  const doubled = first.add(x, x);
  first.output(doubled);
  first.allocate(memory);
  assert.equal(run(first, x, doubled, 3), 6);
  assert.equal(run(first, x, doubled, 4), 8);

  using second = new Graph(device, { tensorsMax: 8 });
  const z = second.input("z", "f32", [1]);
  const squared = second.mul(z, z);
  second.output(squared);
  second.allocate(memory);
  assert.equal(run(second, z, squared, 5), 25);
});

test("a graph of as many operations as the one before is placed anew", () => {
  using memory = new GraphMemory(device);
  const run = (last: (g: Graph, ten: Tensor, five: Tensor) => Tensor) => {
    using graph = new Graph(device, { tensorsMax: 8 });
    const [x, half] = [graph.input("x", "f32", [1]), graph.input("half", "f32", [1])];
    const ten = graph.add(x, x);
    const five = graph.mul(ten, half);
    const result = last(graph, ten, five);
    graph.output(result);
    graph.allocate(memory);
    x.write(Float32Array.of(5));
    half.write(Float32Array.of(0.5));
    graph.compute();
    const values = new Float32Array(1);
    result.read(values);
    return values[0];
  };
  // In the first graph "five" may lie where "ten" was; in the second it must not.
  const twice = run((g, _, five) => g.add(five, five));
  const sum = run((g, ten, five) => g.add(five, ten));
  assert.deepEqual([twice, sum], [10, 15]);
});
