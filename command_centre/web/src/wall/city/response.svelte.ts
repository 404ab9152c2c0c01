/** Which response level the city's wall heads itself with, and whose it is. */
import type { Shapes } from "../../api/shapes";

type Overview = Pick<Shapes["CityOverview"], "response" | "items">;
interface Named {
  name: string;
  name_en: string;
}
export interface InForce {
  level: string | null;
  whose: readonly Named[];
  /** Districts whose level nobody knows now: it may be higher. */
  unknown: number;
}

/** `said` null: the city's figures were not read, or are old; then this centre's own level is all that is known. */
export function inForce(said: Overview | null, own: (Named & { response_level: string | null }) | null): InForce {
  if (said === null) {
    const level = own?.response_level ?? null;
    return { level, whose: own === null || level === null ? [] : [own], unknown: 0 };
  }
  const { level, centre, districts, unknown } = said.response;
  const named = said.items.filter((one) => districts.includes(one.code));
  return { level, whose: centre && own !== null ? [own, ...named] : named, unknown };
}

/** What the city's view read last, for the header above it. */
class CitySaid {
  now = $state.raw<Overview | null>(null);
}

export const citySaid = new CitySaid();
