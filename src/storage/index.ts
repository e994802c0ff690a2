export { type Placement, Residency, type SlotNeeds } from "./residency.js";
