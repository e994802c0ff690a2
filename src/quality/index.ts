export type { AnswerComparison } from "./answers.js";
export { type SetResult, UnusableLogits } from "./contest.js";
export {
  type CandidateResult,
  type Evaluation,
  type EvaluationOptions,
  type EvaluationProgress,
  evaluate,
} from "./evaluation.js";
export { drawEvaluation } from "./evaluation-picture.js";
export { divergence, pointsOf, printEvaluation, share } from "./evaluation-table.js";
export type { Fidelity } from "./fidelity.js";
