/** How far the scheduler may depart from the order of arrival, and how long anybody bears it. */
export interface Rules {
  /**
   * Others that are let in past one whose variant must first be loaded before it lets nobody past, and requests of lower priority
   * values that are let in before one of a higher value has its turn. At least 1.
   */
  readonly overtakenMax: number;
  /** Steps that one may be first in line and not get in before it may take a region from those who have had more. At least 1. */
  readonly turnsMax: number;
  /** Preemptions that one sequence bears; after that it keeps its region. */
  readonly preemptionsMax: number;
  /** Weighted tokens by which priority may carry one client ahead of another that waits. */
  readonly leadMax: number;
}

export const defaultRules: Rules = { overtakenMax: 32, turnsMax: 512, preemptionsMax: 3, leadMax: 65_536 };
