export type { Occupant } from "./prefix-match.js";
export { type CellMemory, type Newcomer, type Place, RegionPool } from "./region-pool.js";
