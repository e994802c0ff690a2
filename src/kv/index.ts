export { RegionPool } from "./region-pool.js";
