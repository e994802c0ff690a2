import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { defaultSampling, Sequence } from "../src/core/index.js";
import { Stepper } from "../src/engine/stepper.js";
import { openCheckpoint } from "../src/formats/index.js";
import { Device, loadKernels } from "../src/ggml/index.js";
import { type BaseDType, KvCache, type KvDType, Weights } from "../src/model/index.js";
import { ChatTemplate, Tokenizer } from "../src/text/index.js";
import { placeNativeSources } from "./native-sources.js";

// npm run bench:precision -- --base PATH: what holding the base in fewer bits costs, as the mean KL divergence of its next-token
// distributions from those of 32-bit weights, over the embedded tasks' questions read four tokens at a time.

const { values: flags } = parseArgs({
  options: {
    base: { type: "string" },
    questions: { type: "string", default: "24" },
    threads: { type: "string", default: "2" },
  },
});
if (!flags.base) throw new Error("npm run bench:precision -- --base PATH: the model to measure");

const forms: readonly { dtype: BaseDType; kv: KvDType }[] = [
  { dtype: "f32", kv: "f32" },
  { dtype: "f16", kv: "f16" },
  { dtype: "f16", kv: "q8_0" },
  { dtype: "bf16", kv: "f16" },
  { dtype: "q8_0", kv: "f16" },
  { dtype: "q5_0", kv: "f16" },
  { dtype: "q4_0", kv: "f16" },
];
const stride = 4;

await using checkpoint = await openCheckpoint(flags.base);
const prompts = readPrompts(Number(flags.questions));
placeNativeSources();
const { kernels, summary } = await loadKernels();
using device = Device.open({ threads: Number(flags.threads), kernels });
const reference = await distributions("f32", "f32");
console.log(`${checkpoint.name}, ${reference.length} positions of ${prompts.length} chats, ${summary}\n`);
console.log("| base | keys and values | KL mean | KL 99 % | top-1 |\n| --- | --- | --- | --- | --- |");
for (const { dtype, kv } of forms.slice(1)) {
  const other = await distributions(dtype, kv);
  const kls = reference
    .map((p, i) => p.reduce((sum, log, j) => sum + Math.exp(log) * (log - other[i]![j]!), 0))
    .sort((a, b) => a - b);
  const same = reference.filter((p, i) => argmax(p) === argmax(other[i]!)).length / reference.length;
  const mean = kls.reduce((sum, kl) => sum + kl, 0) / kls.length;
  console.log(
    `| ${dtype} | ${kv} | ${mean.toFixed(5)} | ${kls[Math.floor(kls.length * 0.99)]!.toFixed(5)} | ${same.toFixed(3)} |`,
  );
}

/** Log probabilities after every fourth token of every prompt. */
async function distributions(dtype: BaseDType, kv: KvDType): Promise<Float64Array[]> {
  using weights = await Weights.load(device, checkpoint, { dtype });
  using cache = new KvCache(device, weights.config, { contextLength: 512, regions: 1, dtype: kv });
  using stepper = new Stepper(device, { weights, cache, pools: undefined });
  return prompts.flatMap((prompt) => {
    const sequence = new Sequence({
      id: "prompt",
      variant: null,
      prompt,
      generated: [],
      sampling: { ...defaultSampling, seed: 0 },
      maxTokens: 1,
      endTokens: [],
      topLogprobs: null,
    });
    sequence.region = 0;
    const found: Float64Array[] = [];
    for (; sequence.pendingTokens >= stride; sequence.computedTokens += stride) {
      const plan = { spans: [{ sequence, count: stride, samples: true }], wanted: [] };
      found.push(logSoftmax(stepper.logits(plan, () => undefined).logits[0]!));
    }
    return found;
  });
}

function readPrompts(count: number): number[][] {
  const tokenizer = Tokenizer.from(checkpoint.text, checkpoint.path);
  const template = new ChatTemplate(checkpoint.text.chatTemplate ?? "{{ messages[0].content }}", tokenizer);
  const tasks = ["banking77", "clinc", "scan", "wikisql"];
  return tasks.flatMap((task) =>
    readFileSync(`models/tiny/tasks/${task}.jsonl`, "utf8")
      .split("\n")
      .slice(0, count / tasks.length)
      .map((line) => tokenizer.encode(template.render(JSON.parse(line).messages), { addSpecialTokens: false })),
  );
}

function logSoftmax(logits: Float32Array): Float64Array {
  const max = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const logSum = max + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - max), 0));
  return Float64Array.from(logits, (logit) => logit - logSum);
}

function argmax(values: Float64Array): number {
  return values.reduce((best, value, index) => (value > values[best]! ? index : best), 0);
}
