/** A city's incidents: what is asked for, several pages as one, and where people act. Nothing is read here. */
import type { Shapes } from "../api/shapes";

export type CityRow = Shapes["CityIncident"];
export type CityPage = Shapes["CityIncidents"];
export type Named = Shapes["CityDistrictName"];
export type Missing = Shapes["DistrictMissing"];

/** "" = any; as it stands in the address of the page. */
export interface Asked {
  q: string;
  class: string;
  closed: boolean;
}

export function readAsked(query: string): Asked {
  const asked = new URLSearchParams(query);
  return { q: asked.get("q") ?? "", class: asked.get("class") ?? "", closed: asked.get("closed") === "true" };
}

/** With its question mark; empty when nothing is asked for. The centre's own route takes the same words. */
export function writtenAsked(asked: Asked): string {
  const words = new URLSearchParams();
  if (asked.q.trim() !== "") words.set("q", asked.q.trim());
  if (asked.class !== "") words.set("class", asked.class);
  if (asked.closed) words.set("closed", "true");
  return words.size === 0 ? "" : `?${words}`;
}

/** Several pages as one: each row once, and whoever lacked in any of them lacks. */
export function joined(pages: readonly CityPage[]): CityPage {
  const items = new Map(pages.flatMap((page) => page.items).map((row) => [keyOf(row), row]));
  const missing = new Map(pages.flatMap((page) => page.missing).map((one) => [one.code, one]));
  return {
    items: [...items.values()],
    districts: pages[0]?.districts ?? [],
    missing: [...missing.values()],
    next: pages.at(-1)?.next ?? null,
  };
}

export const keyOf = (row: CityRow) => `${row.district}/${row.id}`;

/** Where people act on it: its own district's desk; "" where nobody said how that is reached. */
export function actsAt(row: CityRow, of: Named | undefined): string {
  return of === undefined || of.url === "" ? "" : `${of.url}/desk/incidents/${row.id}`;
}

/** The words with which one page is asked for. */
export function pageWords(query: string, limit: number, cursor: string | null): string {
  const words = new URLSearchParams(query);
  words.set("limit", String(limit));
  if (cursor !== null) words.set("cursor", cursor);
  return `?${words}`;
}
