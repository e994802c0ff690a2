export { type Arrivals, parseArrivals } from "./arrivals.js";
export { markCold, type VariantLoad } from "./cold-starts.js";
export { type Lengths, parseLengths } from "./lengths.js";
export { printCsv } from "./load-csv.js";
export { type DrawnRun, drawRuns } from "./load-picture.js";
export { printRun, significant } from "./load-table.js";
export {
  type Distribution,
  distributionOf,
  type LoadSummary,
  printSlo,
  type RunSummary,
  type Slo,
  summarizeRun,
} from "./metrics.js";
export { type Popularity, parsePopularity } from "./popularity.js";
export { type Endpoint, measureText, type PromptSource, promptsOf, syntheticPrompts } from "./prompts.js";
export { type RequestRecord, tpotMs, ttftMs } from "./record.js";
export { type Replayed, type ReplayOptions, type ReplayProgress, replay } from "./replay.js";
export { RequestFailed, Target, type TargetModel, type TargetOptions } from "./target.js";
export { readTrace } from "./trace.js";
export { type TracedOptions, tracedWorkload } from "./traced-workload.js";
export { generateWorkload, type PlannedRequest, type WorkloadContent, type WorkloadOptions } from "./workload.js";
export { statisticsOf, type WorkloadStatistics } from "./workload-statistics.js";
