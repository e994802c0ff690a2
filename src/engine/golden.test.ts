// Agreement with what the transformers library computes; tools/golden.py made the files under test/golden.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../formats/index.js";
import { writeRandomModel } from "./random-model.test.kit.js";
import { type Outcome, spec, Workbench } from "./workbench.test.kit.js";

interface GoldenPrompt {
  readonly tokens: readonly number[];
  readonly logits: readonly (readonly [token: number, value: number])[];
  readonly greedy: readonly number[];
  readonly margins: readonly number[];
}

/** With f32 weights, keys and values. The files are rounded to five decimals. */
const logitsTolerance = 1e-3;

const readGolden = async <T>(file: string) => JSON.parse(await readFile(join("test/golden", file), "utf8")) as T;

const prompts = await readGolden<GoldenPrompt[]>("tiny-base.json");
await using tinyBase = await openCheckpoint("models/tiny/base");
const workbench = await Workbench.open(tinyBase, { contextLength: 512 });
after(() => workbench[Symbol.dispose]());

/** Logits within the tolerance, and the same tokens up to the first that had no lead to speak of. */
function assertGolden({ tokens, logits }: Outcome, golden: GoldenPrompt): void {
  for (const [token, value] of golden.logits) {
    const difference = Math.abs(logits[0]![token]! - value);
    assert.ok(difference <= logitsTolerance, `the logit of token ${token} is ${logits[0]![token]}, expected ${value}`);
  }
  const unsure = golden.margins.findIndex((margin) => margin <= logitsTolerance);
  const sure = Math.min(tokens.length, unsure === -1 ? golden.greedy.length : unsure);
  assert.deepEqual(tokens.slice(0, sure), golden.greedy.slice(0, sure));
}

const greedy = (id: string, golden: GoldenPrompt, most = Number.POSITIVE_INFINITY) =>
  spec(id, golden.tokens, { maxTokens: Math.min(most, golden.greedy.length) });

for (const [index, golden] of prompts.entries()) {
  test(`the tiny base agrees with transformers on prompt ${index}, of ${golden.tokens.length} tokens`, () => {
    assertGolden(workbench.run([greedy("a", golden)]).get("a")!, golden);
  });
}

test("a prompt computed in chunks of seven gives what it gives at once", () => {
  for (const golden of prompts) {
    assertGolden(workbench.run([greedy("a", golden, 4)], { stepTokens: 7 }).get("a")!, golden);
  }
});

test("eight prompts together give each what it gives alone", () => {
  for (const stepTokens of [512, 24]) {
    const together = workbench.run(
      prompts.slice(0, 8).map((golden, index) => greedy(`${index}`, golden, 16)),
      { stepTokens },
    );
    for (const [index, golden] of prompts.slice(0, 8).entries()) assertGolden(together.get(`${index}`)!, golden);
  }
});

test("eight seeded sequences together draw what each draws alone", () => {
  const specs = prompts.slice(0, 8).map(({ tokens }, index) =>
    spec(`${index}`, tokens, {
      maxTokens: 24,
      sampling: {
        ...spec("", [0]).sampling,
        temperature: 0.9,
        topP: 0.95,
        topK: index % 2 ? 40 : 0,
        seed: 1000 + index,
      },
    }),
  );
  const together = workbench.run(specs);
  for (const one of specs) {
    assert.deepEqual(
      together.get(one.id)!.tokens,
      workbench.run([one]).get(one.id)!.tokens,
      `seed ${one.sampling.seed}`,
    );
  }
});

interface GoldenArchitecture {
  readonly config: Readonly<Record<string, unknown>>;
  readonly prompts: readonly GoldenPrompt[];
}

const architectures = await readGolden<Record<string, GoldenArchitecture>>("architectures.json");

for (const [name, { config, prompts: own }] of Object.entries(architectures)) {
  test(`${name}: a random model agrees with transformers`, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "kindred-golden-"));
    t.after(() => rm(folder, { recursive: true }));
    await writeRandomModel(folder, config);
    await using checkpoint = await openCheckpoint(folder);
    using bench = await Workbench.open(checkpoint);
    for (const golden of own) {
      assertGolden(bench.run([greedy("a", golden)]).get("a")!, golden);
      assertGolden(bench.run([greedy("a", golden)], { stepTokens: 9 }).get("a")!, golden);
    }
  });
}
