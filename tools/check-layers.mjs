// Holds the imports under src/ against the table in ARCHITECTURE.md: a folder may import only what its row names, and
// from outside a folder only its index; tests and their kits also the kits (*.test.kit.ts) of folders below. Run by `npm run ok`.
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

const table = new Map(
  [...readFileSync("ARCHITECTURE.md", "utf8").matchAll(/^\| `(\w+)\/` \|[^|]*\| ([^|]*) \|$/gm)].map(
    ([, folder, imports]) => [folder, new Set(imports.split(/[\s,]+/).filter((word) => word !== "" && word !== "–"))],
  ),
);
if (table.size === 0) throw new Error("ARCHITECTURE.md has no layer table");

const isTest = (file) => /\.test(\.kit)?\.[jt]s$/.test(file);
const problems = [];
const files = readdirSync("src", { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
for (const file of files) {
  const folder = file.split(path.sep)[0];
  if (!file.includes(path.sep)) continue; // src/index.ts, the package's door, may name anything public
  const allowed = table.get(folder);
  if (!allowed) {
    problems.push(`src/${folder}/ is not in the layer table of ARCHITECTURE.md`);
    continue;
  }
  for (const [, specifier] of readFileSync(path.join("src", file), "utf8").matchAll(
    /(?:from|import)\s*\(?"(\.[^"]+)"/g,
  )) {
    const target = path.join(path.dirname(file), specifier).split(path.sep);
    if (target[0] === folder) continue;
    if (!allowed.has(target[0])) problems.push(`src/${file} imports ${target[0]}/, which ${folder}/ may not`);
    else if (target[1] !== "index.js" && !(isTest(file) && target.at(-1).endsWith(".test.kit.js")))
      problems.push(`src/${file} imports ${target.join("/")} past ${target[0]}/index.ts`);
  }
}

for (const [folder, imports] of table) {
  const order = [...table.keys()];
  for (const name of imports) {
    if (order.indexOf(name) >= order.indexOf(folder))
      problems.push(`the layer table lets ${folder}/ import ${name}/, which is not below it`);
  }
}

if (problems.length > 0) {
  console.error([...new Set(problems)].join("\n"));
  process.exit(1);
}
console.log(`layers: ${files.length} files keep to the table of ${table.size} folders`);
