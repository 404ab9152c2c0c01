/** Why the centre sends a screen away, by the code its socket is closed with (docs/screen-protocol.md). */

export type Refusal = "session" | "unpaired" | "pairing" | "scope" | "expired" | "revoked" | "full";

const CODES: Readonly<Partial<Record<number, Refusal>>> = {
  4401: "session",
  4403: "unpaired",
  4404: "scope",
  4410: "expired",
  4411: "revoked",
  4503: "full",
};

/** Null for every other end of a connection: it is simply tried again. */
export function refusalOf(code: number): Refusal | null {
  return CODES[code] ?? null;
}
