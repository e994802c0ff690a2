import { writeFileSync } from "node:fs";
import { openCheckpoint } from "../src/formats/index.js";
import { Tokenizer } from "../src/text/index.js";
import { LlamaModel } from "./llama-context.js";
import { openLlama } from "./llama-library.js";
import { LlamaPeer } from "./llama-peer.js";
import { SharedThreads } from "./shared-threads.js";

// tsc -p bench && node .build/bench/bench/golden-gguf.js FILE.gguf OUT.json: the tokens of some prompts and llama.cpp's largest log
// probabilities after each, for the test that holds ours against them on the same file.

const [file, out] = process.argv.slice(2);
if (!file || !out) throw new Error("golden-gguf.js FILE.gguf OUT.json");
const prompts = [
  "Once upon a time, there was a little girl named Lily.",
  "The quick brown fox",
  "One day, a boy found a big red ball in the park and",
  "Tom was sad because his toy was",
];
const library = openLlama();
await using checkpoint = await openCheckpoint(file);
const tokenizer = Tokenizer.from(checkpoint.text, file);
using threads = new SharedThreads(library, 1);
using model = new LlamaModel(library, file, threads);
using peer = new LlamaPeer(model, { sequences: 1, contextLength: 512, unified: true });
const rows: object[] = [];
for (const prompt of prompts) {
  const tokens = tokenizer.encode(prompt, { addSpecialTokens: true });
  const logits = [...peer.likeliest(tokens, 64)].map(([token, logit]) => [token, Number(logit.toFixed(5))]);
  rows.push({ prompt, tokens, logits });
}
writeFileSync(out, `${rows.map((row, i) => `${i === 0 ? "[" : " "}${JSON.stringify(row)}`).join(",\n")}]\n`);
