export { defaultRules, type Rules } from "./rules.js";
export { type Facts, Scheduler, type SchedulerLimits } from "./scheduler.js";
