/**
 * A wall without a person: it trades the one-time address /wall#pair=SECRET for a cookie that no script can read,
 * and asks for more time while it is in use.
 */
const RENEW_EVERY_MS = 6 * 3600 * 1000;

async function post(path: string, body: unknown): Promise<boolean> {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    return answer.ok;
  } catch {
    return false; // no answer: the connection will say the same
  }
}

/** The secret in the address, null when there is none. */
export function secretIn(hash: string): string | null {
  return /^#pair=([\w-]{20,})$/.exec(hash)?.[1] ?? null;
}

/** Trades the secret, which leaves the address first: it is worth nothing a second time. */
export async function pair(secret: string): Promise<boolean> {
  window.history.replaceState(null, "", window.location.pathname + window.location.search);
  return post("/api/screens/pair", { secret });
}

/** Decides when a paired screen asks for more time: at its first word, and every six hours. */
export class Renewal {
  private askedAt: number | null = null;

  due(monotonicMs: number): boolean {
    if (this.askedAt !== null && monotonicMs - this.askedAt < RENEW_EVERY_MS) return false;
    this.askedAt = monotonicMs;
    return true;
  }
}

export function renew(): Promise<boolean> {
  return post("/api/screens/renew", {});
}
