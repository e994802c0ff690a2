import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultSampling, type KindredError, ordinary, type SequenceSpec } from "../core/index.js";
import { type Pending, Resubmission } from "./resubmission.js";

/** Requests by letter on an engine that dies of some of them. */
class Scene {
  /** What the present engine was given. */
  given: string[] = [];
  readonly failed: string[] = [];
  readonly #requests = new Map<string, Pending & { generated: number[] }>();
  readonly resubmission = new Resubmission(({ id, generated }: SequenceSpec) => {
    this.given.push(`${id}${generated.length || ""}`);
  });

  add(...ids: string[]): void {
    for (const id of ids) {
      const spec: SequenceSpec = {
        id,
        variant: null,
        prompt: [1],
        generated: [],
        sampling: { seed: 1, ...defaultSampling },
        maxTokens: 9,
        endTokens: [],
        topLogprobs: null,
        standing: ordinary,
      };
      const request = {
        spec,
        generated: [] as number[],
        fail: ({ code }: KindredError) => void this.failed.push(`${id} ${code}`),
      };
      this.#requests.set(id, request);
      this.resubmission.add(request);
    }
  }

  token(...ids: string[]): void {
    for (const id of ids) {
      this.#requests.get(id)!.generated.push(7);
      this.resubmission.progressed(this.#requests.get(id)!);
    }
  }

  end(id: string): void {
    this.resubmission.remove(this.#requests.get(id)!);
  }

  die(wasKilled = false): void {
    this.given = [];
    this.resubmission.restart({ wasKilled });
  }
}

test("after a death with progress, all go on at once from their tokens, however often it happens", () => {
  const scene = new Scene();
  scene.add("a", "b");
  for (let death = 1; death < 50; death++) {
    scene.token("a");
    scene.die();
    assert.deepEqual(scene.given, [`a${death}`, "b"]);
  }
  assert.deepEqual(scene.failed, []);
});

test("after a death from outside, all go on at once, whatever came before", () => {
  const scene = new Scene();
  scene.add("a", "b");
  for (let death = 0; death < 50; death++) {
    scene.die(true);
    assert.deepEqual(scene.given, ["a", "b"]);
  }
  scene.die();
  assert.deepEqual(scene.given, ["a"]);
  scene.die(true);
  assert.deepEqual(scene.given, ["a", "b"]);
  assert.deepEqual(scene.failed, []);
});

test("after a death in vain, they go one after the other, and new ones behind them", () => {
  const scene = new Scene();
  scene.add("a", "b", "c");
  scene.token("b");
  scene.die();
  scene.die();
  assert.deepEqual(scene.given, ["a"]);
  scene.add("d");
  assert.deepEqual(scene.given, ["a"]);
  scene.token("a");
  assert.deepEqual(scene.given, ["a", "b1"]);
  scene.end("c");
  scene.token("b");
  scene.token("d");
  assert.deepEqual(scene.given, ["a", "b1", "d"]);
  scene.add("e");
  assert.deepEqual(scene.given, ["a", "b1", "d", "e"]);
});

test("the one that engines die of fails alone, and takes nobody with it", () => {
  const scene = new Scene();
  scene.add("a", "poison", "b");
  let deaths = 0;
  for (let step = 0; step < 30 && scene.resubmission.size > 0; step++) {
    if (scene.given.some((id) => id.startsWith("poison"))) {
      deaths += 1;
      scene.die();
      continue;
    }
    for (const id of ["a", "b"]) {
      if (!scene.given.some((own) => own.startsWith(id))) continue;
      scene.token(id);
      if (step > 20) scene.end(id);
    }
  }
  assert.deepEqual(scene.failed, ["poison engine_failed"]);
  assert.equal(scene.resubmission.size, 0, "the others came to their ends");
  assert.ok(deaths <= 5, `${deaths} engines died of it`);
});

test("a suspect that leaves lets the next one go", () => {
  const scene = new Scene();
  scene.add("a", "b");
  scene.token("a");
  scene.die();
  scene.die();
  scene.end("a");
  assert.deepEqual(scene.given, ["a1", "b"]);
});
