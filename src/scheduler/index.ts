export { type Facts, Scheduler, type SchedulerLimits } from "./scheduler.js";
