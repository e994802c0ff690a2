/** What a plan needs to know of the world. */
export interface Facts {
  /** Whether a variant's parts lie in slots, or are on their way into slots that are theirs. */
  residency(variant: string): "resident" | "loading" | "absent";
  /** Names the very bytes of a resident variant: what was computed with others is of no use to it. */
  identity(variant: string): string;
  /** Whether slots for a variant could be had while these others stay, with so many bytes more than there are now. */
  hasRoom(variant: string, spared: ReadonlySet<string>, bytesMore: number): boolean;
}

/** Where the variant of a group or sequence is; the base is always there. */
export function residencyOf(
  { variant }: { readonly variant: string | null },
  facts: Facts,
): ReturnType<Facts["residency"]> {
  return variant === null ? "resident" : facts.residency(variant);
}
