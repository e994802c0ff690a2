export { Budget, type Holder, type Holding } from "./budget.js";
export { coldest, type Heat, heatAt, heated } from "./heat.js";
export { Pace } from "./pace.js";
