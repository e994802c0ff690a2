import assert from "node:assert/strict";
import { test } from "node:test";
import { TokenStream } from "./token-stream.js";

/** Tokens that are single bytes; 256 is special. */
const bytes = { tokenBytes: (token: number) => Uint8Array.of(token), isSpecial: (token: number) => token === 256 };

function push(text: string | readonly number[]): string[] {
  const stream = new TokenStream(bytes);
  const tokens = typeof text === "string" ? [...Buffer.from(text)] : text;
  return [...tokens.map((token) => stream.push(token)), stream.flush()];
}

test("holds a character back until its last byte", () => {
  assert.deepEqual(push("a🙂é"), ["a", "", "", "", "🙂", "", "é", ""]);
});

test("leaves special tokens out, even inside a character", () => {
  assert.deepEqual(push([0x61, 256, 0xc3, 256, 0xa9]), ["a", "", "", "", "é", ""]);
});

test("ends with a replacement for a character that never became whole", () => {
  assert.deepEqual(push([0x61, 0xf0, 0x9f]), ["a", "", "", "\ufffd"]);
  assert.deepEqual(push([0xff, 0x61]), ["\ufffd", "a", ""]);
});

test("keeps a byte order mark, which is text here", () => {
  assert.equal(push("\ufeffa").join(""), "\ufeffa");
});
