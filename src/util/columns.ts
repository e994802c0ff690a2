/** Rows of cells as a table for a terminal, the first row its head. The first column reads from the left, numbers from the right. */
export function printColumns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const print = (row: readonly string[]) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join("  ");
  const [first, ...others] = rows.map((row) => print(row).trimEnd());
  return [first, "─".repeat(widths.reduce((sum, width) => sum + width + 2, -2)), ...others].join("\n");
}
