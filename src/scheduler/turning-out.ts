import type { Sequence } from "../core/index.js";
import type { WaitingGroup } from "./waiting-line.js";

/**
 * Who leaves a full line so that a newcomer gets in, if anybody: of the client that has most in it, the last of its least urgent that
 * has not begun, if that client would still have as much in it as the newcomer's; else of the newcomer's own less urgent ones the last.
 */
export function whoIsTurnedOut(groups: readonly WaitingGroup[], newcomer: Sequence): Sequence | undefined {
  const { client, priority } = newcomer.standing;
  const waiting = new Map([[client, 0]]);
  for (const group of groups) waiting.set(group.client, (waiting.get(group.client) ?? 0) + group.sequences.length);
  const [largest, most] = [...waiting].reduce((a, b) => (b[1] > a[1] ? b : a));
  const from = most > waiting.get(client)! + 1 ? largest : client;
  return groups
    .filter((group) => group.client === from && (from !== client || group.priority > priority))
    .flatMap(({ sequences }) => sequences.filter((one) => one.generatedTokens === 0 && one.preemptions === 0))
    .reduce<Sequence | undefined>((last, one) => (last && isBefore(one, last) ? last : one), undefined);
}

/** Whether `a` would be let in before `b` of the same client. */
function isBefore({ standing: a, arrival }: Sequence, { standing: b, arrival: other }: Sequence): boolean {
  return a.priority < b.priority || (a.priority === b.priority && arrival < other);
}
