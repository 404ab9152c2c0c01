/** How far it is, and links that open a map app. Nothing is sent anywhere until somebody taps such a link. */
import type { Spot } from "./types";

export const MAP_APPS = ["geo", "geo_gcj", "amap", "baidu"] as const;
export type MapApp = (typeof MAP_APPS)[number];

const EARTH_M = 6_371_000;
const radians = (degrees: number) => (degrees * Math.PI) / 180;

/** Metres along the ground. */
export function metres(from: Spot, to: Spot): number {
  const [a, b] = [radians(from.latitude), radians(to.latitude)];
  const [up, across] = [Math.sin((b - a) / 2), Math.sin(radians(to.longitude - from.longitude) / 2)];
  return 2 * EARTH_M * Math.asin(Math.sqrt(up * up + Math.cos(a) * Math.cos(b) * across * across));
}

/** "350 m" or "2.4 km"; a telephone errs by tens of metres. */
export function distanceWords(m: number): string {
  return m < 1000 ? `${Math.round(m / 10) * 10} m` : `${(m / 1000).toFixed(m < 10_000 ? 1 : 0)} km`;
}

const SEMI_MAJOR = 6_378_245;
const ECCENTRICITY_2 = 0.006693421622965943;

/**
 * WGS 84 as the maps of mainland China print it (GCJ-02), 300 to 700 m away. The sums are those that everybody knows
 * since 2010; they agree with the printed maps to about a metre.
 */
export function gcj02({ longitude, latitude }: Spot): Spot {
  if (longitude < 72 || longitude > 137.9 || latitude < 0.8 || latitude > 55.9) return { longitude, latitude };
  const [x, y] = [longitude - 105, latitude - 35];
  const wave = (of: number, parts: readonly [amplitude: number, cycles: number][]) =>
    (parts.reduce((sum, [amplitude, cycles]) => sum + amplitude * Math.sin(of * cycles * Math.PI), 0) * 2) / 3;
  const both = wave(x, [[20, 6], [20, 2]]) + 0.1 * x * y;
  const north =
    -100 + 2 * x + 3 * y + 0.2 * y * y + both + 0.2 * Math.sqrt(Math.abs(x)) +
    wave(y, [[20, 1], [40, 1 / 3], [160, 1 / 12], [320, 1 / 30]]);
  const east =
    300 + x + 2 * y + 0.1 * x * x + both + 0.1 * Math.sqrt(Math.abs(x)) +
    wave(x, [[20, 1], [40, 1 / 3], [150, 1 / 12], [300, 1 / 30]]);
  const angle = radians(latitude);
  const bent = 1 - ECCENTRICITY_2 * Math.sin(angle) ** 2;
  const perNorth = (SEMI_MAJOR * (1 - ECCENTRICITY_2)) / (bent * Math.sqrt(bent));
  const perEast = (SEMI_MAJOR / Math.sqrt(bent)) * Math.cos(angle);
  return {
    longitude: longitude + (east * 180) / (perEast * Math.PI),
    latitude: latitude + (north * 180) / (perNorth * Math.PI),
  };
}

/** A link that opens the place in a map app; `name` is shown at the pin. */
export function mapLink(app: MapApp, spot: Spot, name: string): string {
  const title = encodeURIComponent(name);
  const pair = (to: Spot) => `${to.latitude.toFixed(6)},${to.longitude.toFixed(6)}`;
  const here = pair(spot);
  switch (app) {
    case "geo":
      return `geo:${here}?q=${here}(${title})`;
    case "geo_gcj": {
      const printed = pair(gcj02(spot));
      return `geo:${printed}?q=${printed}(${title})`;
    }
    case "amap": // dev=1: the position is WGS 84, the app moves it
      return `amapuri://route/plan/?dlat=${spot.latitude.toFixed(6)}&dlon=${spot.longitude.toFixed(6)}&dname=${title}&dev=1&t=0`;
    case "baidu":
      return `baidumap://map/direction?destination=name:${title}|latlng:${here}&coord_type=wgs84&mode=driving`;
  }
}
