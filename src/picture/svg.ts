/** A mapping from values to pixels, with the values worth a line. */
export interface Scale {
  at(value: number): number;
  readonly ticks: readonly number[];
}

/** From a span of values to a span of pixels, which may run backwards. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** Equal ratios are equal distances. Ticks at 1, 2 and 5 of every power of ten, or at powers alone where that gets too many. */
export function logScale(values: Range, pixels: Range): Scale {
  const [low, high] = [Math.log10(values.from), Math.log10(values.to)];
  const at = (value: number) => pixels.from + ((Math.log10(value) - low) / (high - low)) * (pixels.to - pixels.from);
  const steps = high - low > 2.5 ? [1] : [1, 2, 5];
  const ticks: number[] = [];
  for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
    for (const step of steps) ticks.push(Number(`${step}e${power}`));
  }
  return { at, ticks: ticks.filter((tick) => tick >= values.from && tick <= values.to) };
}

/** Equal differences are equal distances. Some five ticks at round numbers. */
export function linearScale(values: Range, pixels: Range): Scale {
  const span = values.to - values.from;
  const at = (value: number) => pixels.from + ((value - values.from) / span) * (pixels.to - pixels.from);
  const power = 10 ** Math.floor(Math.log10(span / 4));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => span / candidate <= 5)!;
  const first = Math.ceil(values.from / step - 1e-9);
  const count = Math.floor(values.to / step + 1e-9) - first + 1;
  return { at, ticks: Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12))) };
}

/** Attributes of an element; numbers are rounded to a tenth of a pixel. */
type Attributes = Readonly<Record<string, string | number>>;

/** One SVG element around content that is SVG already. */
export function element(name: string, attributes: Attributes, content = ""): string {
  const list = Object.entries(attributes)
    .map(([key, value]) => ` ${key}="${typeof value === "number" ? Number(value.toFixed(1)) : escapeText(value)}"`)
    .join("");
  return content === "" ? `<${name}${list}/>` : `<${name}${list}>${content}</${name}>`;
}

/** A line of text, escaped. */
export function text(x: number, y: number, content: string, attributes: Attributes = {}): string {
  return element("text", { x, y, ...attributes }, escapeText(content));
}

/**
 * Moves labels on a line apart until they are `gap` pixels from each other, each as near to where it wants to be as that allows,
 * all between `low` and `high` as far as they fit there.
 *
 * @returns a place for each, in the order given
 */
export function spread(wanted: readonly number[], gap: number, { from: low, to: high }: Range): number[] {
  const order = [...wanted.keys()].sort((a, b) => wanted[a]! - wanted[b]! || a - b);
  // Labels that touch form a block around the mean of what they want, less their offsets in the block.
  const blocks: { sum: number; count: number }[] = [];
  const topOf = ({ sum, count }: { sum: number; count: number }) => {
    const top = sum / count;
    return Math.max(low, Math.min(top, high - (count - 1) * gap));
  };
  for (const index of order) {
    let block = { sum: wanted[index]!, count: 1 };
    for (let last = blocks.at(-1); last && topOf(last) + last.count * gap > topOf(block); last = blocks.at(-1)) {
      blocks.pop();
      block = { sum: last.sum + block.sum - block.count * last.count * gap, count: last.count + block.count };
    }
    blocks.push(block);
  }
  const places = new Array<number>(wanted.length);
  let label = 0;
  for (const block of blocks) {
    for (let i = 0; i < block.count; i++) places[order[label++]!] = topOf(block) + i * gap;
  }
  return places;
}

const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** Text as it may stand in an element or an attribute. */
export function escapeText(content: string): string {
  return content.replace(/[&<>"]/g, (character) => entities[character]!);
}
