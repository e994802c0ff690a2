export { type Placement, Residency, type ResidencyCapacity, type SlotMemory, type SlotNeeds } from "./residency.js";
