/** What a plan needs to know of the world. */
export interface Facts {
  /** Whether a variant's parts lie in slots, or are on their way into slots that are theirs. */
  residency(variant: string): "resident" | "loading" | "absent";
  /** Whether slots for a variant could be had while these others stay. */
  hasRoom(variant: string, pinned: ReadonlySet<string>): boolean;
}

/** Where the variant of a group or sequence is; the base is always there. */
export function residencyOf(
  { variant }: { readonly variant: string | null },
  facts: Facts,
): ReturnType<Facts["residency"]> {
  return variant === null ? "resident" : facts.residency(variant);
}
