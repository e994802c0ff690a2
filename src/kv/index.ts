export { type Occupant, type Place, RegionPool } from "./region-pool.js";
