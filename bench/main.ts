import { writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import type { BaseDType } from "../src/model/index.js";
import { promptTokens } from "./contender.js";
import { decoding, duel, type Measure, type Outcome, prefilling } from "./duel.js";
import { KindredContender } from "./kindred-contender.js";
import { type LlamaLibrary, openLlama } from "./llama-library.js";
import { LlamaModel, LlamaPeer, type PeerForm, quantizedFile } from "./llama-peer.js";
import { describeMachine } from "./machine.js";
import { quiet } from "./quiet.js";

// npm run bench -- --model PATH.gguf: see README.md beside this file.

const { values: flags } = parseArgs({
  options: {
    model: { type: "string" },
    base: { type: "string" },
    work: { type: "string", default: path.join(tmpdir(), "kindred-bench") },
    threads: { type: "string", default: String(availableParallelism()) },
    rounds: { type: "string", default: "7" },
    only: { type: "string" },
    json: { type: "string" },
  },
});
if (!flags.model) throw new Error("npm run bench -- --model PATH.gguf: the model to compare on; bench/README.md says how to make one");

const threads = Number(flags.threads);
const rounds = Number(flags.rounds);
const contextLength = 1024;
const sequences = 8;
const forms: readonly PeerForm[] = ["q8_0", "q4_0"];
const measures: readonly Measure[] = [
  decoding("decode", { sequences: 1, steps: 64, goal: 0.95 }),
  prefilling("prefill of 512", { tokens: 512, goal: 0.95 }),
  decoding("batch of 8", { sequences, steps: 24, goal: 1 }),
];

const library = openLlama();
const machine = describeMachine({ ggml: library.ggmlVersion, llamaCpp: library.version });
console.log(`${machine.cpu}, ${threads} threads, llama.cpp ${library.version}, medians of ${rounds} rounds\n`);
console.log("                        kindred   llama.cpp");
console.log("                          tok/s       tok/s   ratio   goal");
const results: (Outcome & { form: PeerForm })[] = [];
for (const form of forms) {
  const file = quantizedFile(library, flags.model, form, { folder: flags.work, threads });
  using model = new LlamaModel(library, file, threads);
  using ours = await KindredContender.open({
    base: flags.base ?? file,
    baseDType: (flags.base ? form : "auto") satisfies BaseDType,
    threads,
    contextLength,
    sequences,
  });
  using alone = new LlamaPeer(model, { sequences: 1, contextLength, unified: true });
  using batched = await fasterBatch(library, model);
  for (const measure of measures.filter(({ name }) => !flags.only || name.includes(flags.only))) {
    const outcome = await duel(measure, ours, measure.sequences === 1 ? alone : batched, { rounds, vocabSize: model.vocabSize });
    results.push({ form, ...outcome });
    console.log(line(`${form} ${measure.name}`, outcome));
  }
  const prompt = promptTokens(64, model.vocabSize);
  const [own, theirs] = [await ours.continuation(prompt, 16), await alone.continuation(prompt, 16)];
  const alike = own.findIndex((token, index) => token !== theirs[index]);
  console.log(`${form}: both continue a prompt with the same ${alike === -1 ? 16 : `${alike} of 16`} tokens; batches against ${batched.name}\n`);
}
if (flags.json) writeFileSync(flags.json, `${JSON.stringify({ machine, threads, rounds, model: path.basename(flags.model), results }, null, 2)}\n`);

/** llama.cpp's cache for a batch, unified or one a sequence: whichever is faster here. */
async function fasterBatch(_library: LlamaLibrary, model: LlamaModel): Promise<LlamaPeer> {
  const [measure] = measures.slice(-1);
  const candidates = [false, true].map((unified) => new LlamaPeer(model, { sequences, contextLength, unified }));
  const times: number[] = [];
  for (const candidate of candidates) {
    await measure!.timeMs(candidate, model.vocabSize);
    await quiet();
    times.push(await measure!.timeMs(candidate, model.vocabSize));
  }
  const [separate, unified] = candidates as [LlamaPeer, LlamaPeer];
  const [faster, slower] = times[0]! <= times[1]! ? [separate, unified] : [unified, separate];
  slower[Symbol.dispose]();
  return faster;
}

function line(name: string, { ours, theirs, ratio, goal, disturbed }: Outcome): string {
  const numbers = [ours.toFixed(1).padStart(9), theirs.toFixed(1).padStart(11), `${ratio.toFixed(3)}×`.padStart(8), `${goal.toFixed(2)}×`.padStart(7)];
  return `${name.padEnd(22)}${numbers.join(" ")} ${ratio >= goal ? "✓" : "✗"}${disturbed > 0 ? `  ${disturbed} disturbed` : ""}`;
}
