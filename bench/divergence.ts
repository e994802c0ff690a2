import { readFileSync } from "node:fs";
import { openCheckpoint } from "../src/formats/index.js";
import { compareRow, distributionOf } from "../src/quality/distribution.js";
import { Tokenizer } from "../src/text/index.js";
import type { Contender } from "./contender.js";
import { KindredContender } from "./kindred-contender.js";
import { LlamaModel } from "./llama-context.js";
import type { LlamaLibrary } from "./llama-library.js";
import { LlamaPeer, quantizedFile } from "./llama-peer.js";
import type { SharedThreads } from "./shared-threads.js";

const textFile = "models/eval/general.txt";
const windows = 3;
const windowTokens = 128;
/** Of a window, tokens that are read before the first is looked at. */
const before = 16;

/** Mean KL(model ‖ side) in nats a token, of sides that hold the model in fewer bits. */
export interface Divergences {
  readonly positions: number;
  readonly kindredQ8: number;
  readonly llamaQ8: number;
  readonly llamaQ4: number;
}

/**
 * How far each side's next-token distributions are from those of the model as it is in `source`, which our engine computes in 32 bits,
 * over some plain text.
 */
export async function measureDivergences(
  library: LlamaLibrary,
  { source, folder, threads }: { source: string; folder: string; threads: SharedThreads },
): Promise<Divergences> {
  const texts = await windowsOf(source);
  const kindred = (base: string, precision: "exact" | "served") =>
    KindredContender.open({
      base,
      dtype: precision === "exact" ? "f32" : "auto",
      kvDType: precision === "exact" ? "f32" : "f16",
      threads,
      contextLength: windowTokens,
      sequences: 1,
    });
  const file = (form: "q8_0" | "q4_0") => quantizedFile(library, source, form, { folder, threads: threads.count });

  using model = await kindred(source, "exact");
  const reference = texts.map((tokens) => rowsOf(model, tokens));
  const divergenceOf = (side: Contender) => {
    const all = texts.flatMap((tokens, text) =>
      rowsOf(side, tokens).map((row, at) => compareRow(distributionOf(reference[text]![at]!), row, 0).kl),
    );
    return all.reduce((sum, kl) => sum + kl, 0) / all.length;
  };
  const ofLlama = (form: "q8_0" | "q4_0") => {
    using peerModel = new LlamaModel(library, file(form), threads);
    using peer = new LlamaPeer(peerModel, { sequences: 1, contextLength: windowTokens, unified: true });
    return divergenceOf(peer);
  };
  using ours = await kindred(file("q8_0"), "served");
  return {
    positions: texts.length * (windowTokens - before),
    kindredQ8: divergenceOf(ours),
    llamaQ8: ofLlama("q8_0"),
    llamaQ4: ofLlama("q4_0"),
  };
}

function rowsOf(side: Contender, tokens: readonly number[]): readonly Float32Array[] {
  return side.logitsAfterEach(tokens).slice(before);
}

async function windowsOf(source: string): Promise<readonly number[][]> {
  await using checkpoint = await openCheckpoint(source);
  const tokens = Tokenizer.from(checkpoint.text, source).encode(readFileSync(textFile, "utf8"), {
    addSpecialTokens: false,
  });
  return Array.from({ length: windows }, (_, index) => tokens.slice(index * windowTokens, (index + 1) * windowTokens));
}
