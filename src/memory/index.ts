export { Budget, type Holder, type Holding } from "./budget.js";
export { coldest, type Heat, heatAt, heated } from "./heat.js";
export { Pace, type PaceGuess } from "./pace.js";
