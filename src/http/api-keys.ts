import { createHash, timingSafeEqual } from "node:crypto";
import { KindredError } from "../core/index.js";

/** A request without a key, or with one that this server does not know. */
export class InvalidApiKey extends KindredError {
  constructor(message: string) {
    super("invalid_api_key", 401, message);
  }
}

/** The keys that open the API, compared in a time that says nothing about them. */
export class ApiKeys {
  readonly #digests: readonly Buffer[];

  constructor(keys: readonly string[]) {
    this.#digests = keys.map(digest);
  }

  /**
   * @param authorization the request's Authorization header
   * @throws {InvalidApiKey} unless it is `Bearer KEY` with one of the keys
   */
  check(authorization: string | undefined): void {
    const key = keyOf(authorization);
    if (key === undefined) throw new InvalidApiKey("Cannot authorize: expected the header Authorization: Bearer KEY");
    const sent = digest(key);
    // Every digest is compared, also after a match.
    const matches = this.#digests.filter((known) => timingSafeEqual(known, sent));
    if (matches.length === 0) throw new InvalidApiKey("Cannot authorize: this server does not know the API key sent");
  }
}

/** Whom a request's service is counted for: a name for its key that does not give the key away; empty without one. */
export function clientOf(authorization: string | undefined): string {
  const key = keyOf(authorization) ?? authorization;
  return key === undefined ? "" : digest(key).toString("base64url").slice(0, 22);
}

function keyOf(authorization: string | undefined): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];
}

function digest(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}
