/** What becomes of each would-be alarm beside the version in force: new, gone, or as before. Pure. */
import type { Episode, Report } from "./api";

export type Fate = "gained" | "lost" | "kept" | "alone";
export interface Fated {
  episode: Episode;
  /** "alone": there is nothing in force to compare with. */
  fate: Fate;
}

const same = (one: Episode) => `${one.device} ${one.raised_at}`;

/** What changes first, then what stays, each by time. */
export function fates(report: Report): Fated[] {
  const difference = report.difference;
  const gained = new Set((difference?.gained_episodes ?? []).map(same));
  const found: Fated[] = report.episodes.map((episode) => ({
    episode,
    fate: difference === null ? "alone" : gained.has(same(episode)) ? "gained" : "kept",
  }));
  for (const episode of difference?.lost_episodes ?? []) found.push({ episode, fate: "lost" });
  const order: readonly Fate[] = ["gained", "lost", "kept", "alone"];
  return found.sort(
    (one, other) =>
      order.indexOf(one.fate) - order.indexOf(other.fate) ||
      one.episode.raised_at.localeCompare(other.episode.raised_at),
  );
}

/** Devices with an episode on either side, those with the most changes first. */
export function devicesOf(report: Report): string[] {
  const changes = new Map<string, number>();
  for (const { episode, fate } of fates(report)) {
    const weight = fate === "kept" || fate === "alone" ? 1 : 1000;
    changes.set(episode.device, (changes.get(episode.device) ?? 0) + weight);
  }
  return [...changes].sort(([one, a], [other, b]) => b - a || one.localeCompare(other)).map(([device]) => device);
}
