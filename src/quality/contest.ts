import { setImmediate as nextTurn } from "node:timers/promises";
import { KindredError } from "../core/index.js";
import type { Probe, Reading } from "../engine/index.js";
import type { TextFormat, TextSample, TextSet } from "../text/index.js";
import { type Answer, type AnswerComparison, compareAnswers } from "./answers.js";
import { compareRow, distributionOf } from "./distribution.js";
import { type Fidelity, FidelityTally, recoveredFraction } from "./fidelity.js";
import { readingSteps } from "./reading-steps.js";

/** What a contest needs of a {@link Probe}. */
export interface Voice extends Pick<Probe, "answer"> {
  read(variant: string | null, tokens: readonly number[]): Pick<Reading, "advance">;
}

/** A model that takes part. */
export interface Contestant {
  readonly name: string;
  readonly probe: Voice;
  /** How its probe knows it; null for the probe's base. */
  readonly variant: string | null;
  /** Words beyond these it reads as its first: a base does not know those that its fine-tune added. */
  readonly vocabSize: number;
}

/** How a contestant did on one set. */
export interface SetResult {
  /** The set's name. */
  readonly set: string;
  readonly fidelity: Fidelity;
  /** What it recovers of the way from base to fine-tune; see {@link recoveredFraction}. */
  readonly recovered: number | null;
  /** Its greedy answers; null for a set without chats. */
  readonly answers: AnswerComparison | null;
}

/** A model answered with what is no number. */
export class UnusableLogits extends KindredError {
  constructor(contestant: string, sample: string) {
    super(
      "unusable_logits",
      422,
      `Cannot compare ${contestant} with the fine-tune on ${sample}: a logit of one of them is not a finite number`,
      { details: { contestant, sample } },
    );
  }
}

/** Who takes part, and by which rules. */
export interface ContestOptions {
  /** The fine-tune on weights of its own. */
  readonly reference: Contestant;
  /** Who is held against it; the base first. */
  readonly contestants: readonly Contestant[];
  /** The fine-tune's. */
  readonly format: TextFormat;
  readonly signal: AbortSignal;
  /** Called with the tokens that were read since the last call, by one model. */
  readonly onRead: (tokens: number) => void;
}

/** Tokens of one step. */
const stepTokens = 512;
/** Logits that are looked at in one step: at 16 bytes each (two models' and the probabilities), 32 MiB. */
const logitsMax = 1 << 21;

/** What an answer may grow to: a model that has not ended by then has not given the reference. */
export function answerTokensMax({ tokens, firstCounted }: TextSample): number {
  return 2 * (tokens.length - firstCounted) + 8;
}

/** Holds every contestant against the fine-tune, a set at a time. */
export class Contest {
  readonly #options: ContestOptions;

  constructor(options: ContestOptions) {
    this.#options = options;
  }

  /** One result a contestant. Memory: a few rows of logits, 8 bytes a position and contestant, and the answers. */
  async run(set: TextSet): Promise<SetResult[]> {
    const { reference, contestants, signal } = this.#options;
    const tallies = contestants.map(() => new FidelityTally());
    // Of the fine-tune and of every contestant, whether its greedy answer to a sample is known to be the reference.
    const follows = [reference, ...contestants].map(() => new Array<boolean>(set.samples.length).fill(false));
    for (const [index, sample] of set.samples.entries()) {
      signal.throwIfAborted();
      for (const [model, isGreedy] of this.#read(set, index, tallies).entries()) {
        follows[model]![index] = isGreedy && this.#ends(sample);
      }
      await nextTurn();
    }
    const answers = await this.#answers(set, follows);
    const fidelities = tallies.map((tally) => tally.summarise());
    return fidelities.map((fidelity, index) => ({
      set: set.name,
      fidelity,
      recovered: recoveredFraction(fidelity, fidelities[0]!),
      answers: answers[0]!.length === 0 ? null : compareAnswers(answers[0]!, answers[index + 1]!),
    }));
  }

  /**
   * Reads one sample with every model, step by step side by side. Of the fine-tune and of each contestant: whether every token that
   * counts is the one it found likeliest.
   */
  #read(set: TextSet, index: number, tallies: readonly FidelityTally[]): boolean[] {
    const { reference, contestants, onRead } = this.#options;
    const sample = set.samples[index]!;
    const tuned = reference.probe.read(reference.variant, sample.tokens);
    const readings = contestants.map((one) => one.probe.read(one.variant, heardBy(one, sample.tokens)));
    const isGreedy = [true, ...contestants.map(() => true)];
    const rowsMax = Math.max(1, Math.floor(logitsMax / reference.vocabSize));
    for (const { count, scored, firstTarget } of readingSteps(sample, { stepTokens, rowsMax })) {
      const expected = tuned.advance(count, scored).map(distributionOf);
      for (const [row, { top }] of expected.entries()) isGreedy[0] &&= top === sample.tokens[firstTarget + row];
      onRead(count);
      for (const [contestant, reading] of readings.entries()) {
        for (const [row, logits] of reading.advance(count, scored).entries()) {
          const target = sample.tokens[firstTarget + row]!;
          const comparison = compareRow(expected[row]!, logits, target);
          if (!Number.isFinite(comparison.kl)) {
            throw new UnusableLogits(contestants[contestant]!.name, `sample ${index + 1} of ${set.path}`);
          }
          tallies[contestant]!.add(comparison, expected[row]!.top);
          isGreedy[contestant + 1] &&= comparison.top === target;
        }
        onRead(count);
      }
    }
    return isGreedy;
  }

  /** Greedy answers to the set's chats, of the fine-tune and of every contestant. Those that are not known yet are written. */
  async #answers({ samples }: TextSet, follows: readonly (readonly boolean[])[]): Promise<Answer[][]> {
    const { reference, contestants, format, signal } = this.#options;
    const chats = [...samples.keys()].filter((index) => samples[index]!.reference !== null);
    const all: Answer[][] = [];
    for (const [model, contestant] of [reference, ...contestants].entries()) {
      const unknown = chats.filter((index) => !follows[model]![index]);
      const questions = unknown.map((index) => {
        const { tokens, firstCounted } = samples[index]!;
        return {
          prompt: heardBy(contestant, tokens.slice(0, firstCounted)),
          tokensMax: answerTokensMax(samples[index]!),
        };
      });
      const { probe, variant } = contestant;
      const written = await probe.answer(variant, questions, { endTokens: format.endTokens, signal });
      const byIndex = new Map(unknown.map((index, at) => [index, written[at]!]));
      all.push(
        chats.map((index) => {
          const { tokens, firstCounted, reference: expected } = samples[index]!;
          const answer = byIndex.get(index) ?? tokens.slice(firstCounted);
          const text = format.tokenizer.decode(answer, { continues: true });
          return { tokens: answer, isRight: text.trim() === expected!.trim() };
        }),
      );
    }
    return all;
  }

  /** Whether its last token ends a turn, so that a model that follows it to there stops. */
  #ends({ tokens }: TextSample): boolean {
    return this.#options.format.endTokens.includes(tokens.at(-1)!);
  }
}

function heardBy({ vocabSize }: Contestant, tokens: readonly number[]): readonly number[] {
  return tokens.map((token) => (token < vocabSize ? token : 0));
}
