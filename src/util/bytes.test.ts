import assert from "node:assert/strict";
import { test } from "node:test";
import { alignUp, formatBytes, parseBytes } from "./bytes.js";

test("alignUp goes to the next multiple and stays on one", () => {
  assert.deepEqual(
    [0, 1, 31, 32, 33].map((value) => alignUp(value, 32)),
    [0, 32, 32, 32, 64],
  );
});

test("formatBytes has three digits and a decimal unit", () => {
  const cases: [number, string][] = [
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.00 kB"],
    [1_234_567, "1.23 MB"],
    [8.9e9, "8.90 GB"],
    [5e15, "5.00e+3 TB"],
  ];
  for (const [bytes, text] of cases) assert.equal(formatBytes(bytes), text);
});

test("parseBytes knows decimal and binary units, with and without the b", () => {
  const cases: [string, number | undefined][] = [
    ["4096", 4096],
    ["12b", 12],
    ["512MB", 512e6],
    ["1.5 GiB", 1.5 * 2 ** 30],
    ["2k", 2000],
    ["2ki", 2048],
    [" 1 T ", 1e12],
    ["", undefined],
    ["MB", undefined],
    ["-1", undefined],
    ["1e3", undefined],
    ["1 PB", undefined],
    ["1.2.3", undefined],
    ["1ib", undefined],
  ];
  for (const [text, bytes] of cases) assert.equal(parseBytes(text), bytes, JSON.stringify(text));
});
