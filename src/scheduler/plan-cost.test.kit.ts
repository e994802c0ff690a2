import { roomy, scheduler, sequence, step } from "./scheduler.test.kit.js";

/** What waits beside 32 sequences that decode. */
export interface WaitingCrowd {
  readonly waiting: number;
  /** Clients that they are of. */
  readonly clients: number;
  /** Variants that they are for, none of them resident. */
  readonly variants: number;
}

/** The median time of a plan and its commit, in microseconds, while nobody comes or goes. */
export function planMicroseconds({ waiting, clients, variants }: WaitingCrowd): number {
  const made = scheduler({ ...roomy, regions: 32, contextLength: 10_000, stepTokens: 512, queueMax: 256 });
  for (let i = 0; i < 32; i++) made.add(sequence(`r${i}:10+9000`));
  step(made);
  for (let i = 0; i < waiting; i++) made.add(sequence(`c${i % clients}/w${i}@v${i % variants}:10`));
  const times = Array.from({ length: 3000 }, () => {
    const startedMs = performance.now();
    step(made);
    return performance.now() - startedMs;
  });
  return 1000 * times.slice(1000).sort((a, b) => a - b)[1000]!;
}
