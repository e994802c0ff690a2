import assert from "node:assert/strict";
import { test } from "node:test";
import { type Arrivals, parseArrivals } from "./arrivals.js";
import { Dice } from "./dice.js";
import { drawLength, parseLengths } from "./lengths.js";
import { parsePopularity, sharesOf } from "./popularity.js";
import { generateWorkload, type WorkloadOptions } from "./workload.js";
import { statisticsOf } from "./workload-statistics.js";

const models = Array.from({ length: 32 }, (_, index) => `model-${index}`);
const plain: WorkloadOptions = {
  seed: 1,
  models,
  popularity: { kind: "zipf", exponent: 1 },
  promptTokens: [100],
  outputTokens: [10, 20, 90],
  clients: 3,
  untilMs: Number.POSITIVE_INFINITY,
  requestsMax: 20_000,
  arrivals: { kind: "poisson" },
  rate: 5,
  perModel: false,
};

function near(actual: number, expected: number, tolerance: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= tolerance * expected, `${what}: ${actual}, expected ${expected}`);
}

test("gamma draws have the mean and the variance of their shape, below 1 too", () => {
  for (const shape of [0.0625, 0.25, 1, 7]) {
    const dice = new Dice(3, 0);
    const draws = Array.from({ length: 100_000 }, () => dice.gamma(shape));
    const mean = draws.reduce((sum, draw) => sum + draw, 0) / draws.length;
    near(mean, shape, 0.03, `mean of shape ${shape}`);
    near(draws.reduce((sum, draw) => sum + (draw - mean) ** 2, 0) / draws.length, shape, 0.08, `variance of ${shape}`);
  }
});

test("every process keeps the rate that was asked for, and is as bursty as it says", () => {
  const cases: readonly [Arrivals, { cv: number; tolerance?: number }][] = [
    [{ kind: "poisson" }, { cv: 1 }],
    [{ kind: "gamma", cv: 0.5 }, { cv: 0.5 }],
    [
      { kind: "gamma", cv: 4 },
      { cv: 4, tolerance: 0.1 },
    ],
  ];
  for (const [arrivals, { cv, tolerance = 0.03 }] of cases) {
    const { rate, gapCv } = statisticsOf(generateWorkload({ ...plain, arrivals }));
    near(rate, 5, 0.05, `rate of ${JSON.stringify(arrivals)}`);
    near(gapCv, cv, tolerance, `variation of ${JSON.stringify(arrivals)}`);
  }
});

test("bursts are Poisson while on and silent while off", () => {
  const options = { ...plain, arrivals: { kind: "bursts", onSeconds: 2, offSeconds: 8 }, requestsMax: 50_000 } as const;
  const planned = generateWorkload(options);
  const { rate, gapCv, fano10 } = statisticsOf(planned);
  near(rate, 5, 0.05, "rate");
  assert.ok(gapCv > 2 && fano10 > 10, `${gapCv} ${fano10}`);
  // At 25 a second while on: the median gap is that of a Poisson process of 25.
  const gaps = planned.slice(1).map(({ atMs }, index) => atMs - planned[index]!.atMs);
  near(gaps.sort((a, b) => a - b)[gaps.length >> 1]!, (1000 * Math.LN2) / 25, 0.06, "median gap");
});

test("a wandering rate clusters over its memory and not within a second", () => {
  const arrivals = { kind: "ou", spread: 0.25, memorySeconds: 300 } as const;
  const { rate, gapCv, fano1, fano10 } = statisticsOf(generateWorkload({ ...plain, arrivals, requestsMax: 100_000 }));
  near(rate, 5, 0.08, "rate");
  near(gapCv, 1.05, 0.04, "variation");
  near(fano1, 1.3, 0.1, "Fano factor of a second");
  near(fano10, 3.9, 0.2, "Fano factor of ten seconds");
});

test("models get the shares of their popularity", () => {
  near(sharesOf({ kind: "zipf", exponent: 1 }, 32)[0]!, 0.246, 0.01, "first of 32");
  const shareOfFirst = (popularity: WorkloadOptions["popularity"]) =>
    statisticsOf(generateWorkload({ ...plain, popularity })).top1;
  near(shareOfFirst({ kind: "zipf", exponent: 1 }), 0.246, 0.05, "zipf 1");
  near(shareOfFirst({ kind: "zipf", exponent: 1.5 }), 0.442, 0.05, "zipf 1.5");
  near(shareOfFirst({ kind: "uniform" }), 1 / 32, 0.15, "uniform");
  assert.equal(shareOfFirst({ kind: "single" }), 1);
  const distinct = generateWorkload({ ...plain, popularity: { kind: "distinct" }, requestsMax: 64 });
  assert.deepEqual(
    distinct.map(({ model }) => model),
    [...models, ...models],
  );
});

test("models with processes of their own keep their shares and come together", () => {
  const options = { ...plain, arrivals: { kind: "gamma", cv: 8 }, requestsMax: 50_000 } as const;
  const common = statisticsOf(generateWorkload(options));
  const own = statisticsOf(generateWorkload({ ...options, perModel: true }));
  near(own.rate, 5, 0.15, "rate");
  near(own.top1, 0.246, 0.3, "share of the first");
  near(common.switchRate, 0.9, 0.05, "switches of a common process");
  assert.ok(own.switchRate < 0.3, `${own.switchRate}`);
});

test("lengths follow their quantiles", () => {
  const dice = new Dice(1, 0);
  const drawn = Array.from({ length: 10_000 }, () => drawLength([10, 20, 90], dice)).sort((a, b) => a - b);
  near(drawn[5000]!, 20, 0.1, "median");
  near(drawn[7500]!, 55, 0.1, "third quartile");
  assert.ok(drawn[0]! >= 10 && drawn.at(-1)! <= 90);
  assert.equal(drawLength([128], dice), 128);
});

test("a seed repeats its workload, and what is drawn of one thing changes nothing of another", () => {
  const first = generateWorkload({ ...plain, requestsMax: 100 });
  assert.deepEqual(generateWorkload({ ...plain, requestsMax: 100 }), first);
  assert.notDeepEqual(generateWorkload({ ...plain, requestsMax: 100, seed: 2 }), first);
  const longer = generateWorkload({ ...plain, requestsMax: 100, promptTokens: [1, 1000] });
  assert.deepEqual(
    longer.map(({ promptTokens, ...other }) => ({ ...other, promptTokens: 100 })),
    first,
  );
  assert.deepEqual(new Set(first.map(({ client }) => client)), new Set([0, 1, 2]));
});

test("a workload ends at its time or its number of requests, whichever comes first", () => {
  const timed = generateWorkload({ ...plain, untilMs: 10_000 });
  assert.ok(timed.length > 20 && timed.length < 90 && timed.at(-1)!.atMs < 10_000);
  assert.equal(generateWorkload({ ...plain, untilMs: 10_000, requestsMax: 7 }).length, 7);
});

test("notations parse, and what is none of them does not", () => {
  assert.deepEqual(parseArrivals("poisson"), { kind: "poisson" });
  assert.deepEqual(parseArrivals("gamma:4"), { kind: "gamma", cv: 4 });
  assert.deepEqual(parseArrivals("bursts:2,8"), { kind: "bursts", onSeconds: 2, offSeconds: 8 });
  assert.deepEqual(parseArrivals("ou:0.25,300"), { kind: "ou", spread: 0.25, memorySeconds: 300 });
  for (const wrong of [
    "",
    "gamma",
    "gamma:0",
    "gamma:x",
    "gamma:1:2",
    "bursts:2",
    "poisson:1",
    "ou:1,2,3",
    "weibull:1",
  ])
    assert.equal(parseArrivals(wrong), undefined, wrong);
  assert.deepEqual(parsePopularity("zipf"), { kind: "zipf", exponent: 1 });
  assert.deepEqual(parsePopularity("zipf:1.43"), { kind: "zipf", exponent: 1.43 });
  for (const wrong of ["", "zipf:", "zipf:x", "zipf:-1", "single:1"]) assert.equal(parsePopularity(wrong), undefined);
  assert.deepEqual(parseLengths("10,40,900"), [10, 40, 900]);
  for (const wrong of ["", "0", "5,4", "1.5", "a"]) assert.equal(parseLengths(wrong), undefined, wrong);
});
