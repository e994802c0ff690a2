import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { embeddingName, ownHeadName } from "../core/index.js";
import { type Checkpoint, readTensor } from "./checkpoint.js";
import { openCheckpoint } from "./open-checkpoint.js";
import { temporaryFolder, tinyConfig, writeTinyFolder } from "./tiny-checkpoint.test.kit.js";
import { withVocabulary } from "./vocabulary-view.js";

const norm = "model.norm.weight";

/** A model of 24 words of 8 numbers each. */
async function tiny(t: TestContext, tied: boolean): Promise<Checkpoint> {
  const folder = await temporaryFolder(t);
  await writeTinyFolder(folder, tinyConfig({ tie_word_embeddings: tied }));
  const checkpoint = await openCheckpoint(folder);
  t.after(() => checkpoint[Symbol.asyncDispose]());
  return checkpoint;
}

test("a checkpoint that has these words is itself", async (t) => {
  const checkpoint = await tiny(t, true);
  assert.equal(withVocabulary(checkpoint, { vocabSize: 24, tiedEmbeddings: true }), checkpoint);
});

test("a head of its own has the embedding's values, and comes last", async (t) => {
  const checkpoint = await tiny(t, true);
  const view = withVocabulary(checkpoint, { vocabSize: 24, tiedEmbeddings: false });
  assert.deepEqual([...view.tensors.keys()], [...checkpoint.tensors.keys(), ownHeadName]);
  assert.deepEqual(await readTensor(view, ownHeadName), await readTensor(checkpoint, embeddingName));
  assert.equal(view.config.tiedEmbeddings, false);
  assert.equal(await view.fingerprint(), await checkpoint.fingerprint());
});

test("of fewer words the first are there, in embedding and head, and all else is as it was", async (t) => {
  for (const tied of [true, false]) {
    const checkpoint = await tiny(t, tied);
    const view = withVocabulary(checkpoint, { vocabSize: 20, tiedEmbeddings: false });
    assert.equal(view.config.vocabSize, 20);
    for (const name of [embeddingName, ownHeadName]) {
      assert.deepEqual(view.tensors.get(name)!.shape, [20, 8]);
      const whole = await readTensor(checkpoint, tied ? embeddingName : name);
      assert.deepEqual(await readTensor(view, name), whole.slice(0, 20 * 8 * 4));
    }
    assert.deepEqual(await readTensor(view, norm), await readTensor(checkpoint, norm));
  }
});
