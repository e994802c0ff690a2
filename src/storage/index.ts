export { type Placement, Residency, type ResidencyCapacity, type SlotNeeds } from "./residency.js";
