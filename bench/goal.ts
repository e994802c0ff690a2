/** A goal, and whether a value reaches it: `8.00 ✓`. */
export function verdict(value: number, goal: number): string {
  return `${goal.toFixed(2)} ${value >= goal ? "✓" : "✗"}`;
}
