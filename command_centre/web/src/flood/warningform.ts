/** What the warning's form holds, read from a warning and from an address, and what is sent of it. Pure. */
import type { Colour, FloodWarning, StationRow } from "./api";

export interface Draft {
  colour: Colour;
  hazard: string;
  hours: number;
  certainty: string;
  areas: string[];
  stations: string[];
  headline: string;
  headline_en: string;
  description: string;
  description_en: string;
  instruction: string;
  instruction_en: string;
  exercise: boolean;
}

export const TEXTS = ["headline", "description", "instruction"] as const;
export const HAZARDS = ["flood", "waterlogging", "landslide"] as const;
export const LONGEST_H = 72;
const HOUR_MS = 3_600_000;

export function emptyDraft(): Draft {
  return {
    colour: "blue",
    hazard: "flood",
    hours: 6,
    certainty: "",
    areas: [],
    stations: [],
    headline: "",
    headline_en: "",
    description: "",
    description_en: "",
    instruction: "",
    instruction_en: "",
    exercise: false,
  };
}

const isColour = (word: string | null): word is Colour => word !== null && ["red", "orange", "yellow", "blue"].includes(word);

/** From /flood/warnings/new?colour=&station=: a station brings its cell along. */
export function prefilled(query: URLSearchParams, stations: readonly StationRow[]): Draft {
  const [colour, code] = [query.get("colour"), query.get("station")];
  const station = stations.find((one) => one.code === code);
  return {
    ...emptyDraft(),
    ...(isColour(colour) ? { colour } : {}),
    ...(code ? { stations: [code] } : {}),
    ...(station?.cell ? { areas: [station.cell] } : {}),
  };
}

export function draftOf(warning: FloodWarning, now: number): Draft {
  const { content } = warning;
  const left = Math.ceil((Date.parse(warning.expires_at) - now) / HOUR_MS);
  return {
    ...emptyDraft(),
    ...Object.fromEntries(Object.entries(content).filter(([, value]) => typeof value === "string")),
    colour: warning.colour,
    hazard: content.hazard ?? "flood",
    hours: Math.min(Math.max(left, 1), LONGEST_H),
    certainty: content.certainty ?? "",
    areas: [...(content.areas ?? [])],
    stations: [...(content.stations ?? [])],
    exercise: warning.exercise,
  };
}

/** A draft's body; of an update the kind of hazard and the exercise mark stay as they were. */
export function bodyOf(draft: Draft, now: number, update: boolean): Record<string, unknown> {
  const { hours, certainty, exercise, ...rest } = draft;
  return {
    colour: rest.colour,
    hazard: rest.hazard,
    areas: rest.areas,
    stations: rest.stations,
    headline: rest.headline,
    headline_en: rest.headline_en,
    description: rest.description,
    description_en: rest.description_en,
    instruction: rest.instruction,
    instruction_en: rest.instruction_en,
    certainty: certainty === "" ? null : certainty,
    expires: new Date(now + hours * HOUR_MS).toISOString(),
    ...(update ? {} : { exercise }),
  };
}
