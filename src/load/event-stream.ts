import { StringDecoder } from "node:string_decoder";

/** Characters of one event at most; a longer one is no event of a completion. */
const eventCharactersMax = 1 << 20;

/**
 * The data of server-sent events, from bytes as they arrive. Lines that are not data are passed over, and so is what a stream that
 * breaks off leaves without an end.
 */
export class EventStream {
  readonly #decoder = new StringDecoder("utf8");
  #rest = "";
  #data: string[] = [];

  /** @throws {RangeError} when an event gets too long */
  push(bytes: Uint8Array): string[] {
    const lines = (
      this.#rest + this.#decoder.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    ).split(/\r?\n/);
    this.#rest = lines.pop()!;
    if (this.#rest.length > eventCharactersMax) throw new RangeError("an event of the stream is too long");
    const events: string[] = [];
    for (const line of lines) {
      if (line.startsWith("data:")) this.#data.push(line.slice(5).trimStart());
      else if (line === "" && this.#data.length > 0) {
        events.push(this.#data.join("\n"));
        this.#data = [];
      }
    }
    return events;
  }
}
