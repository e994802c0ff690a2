export type { Facts } from "./facts.js";
export { defaultRules, type Rules } from "./rules.js";
export { Scheduler, type SchedulerLimits } from "./scheduler.js";
