/** From where people stand and how large the picture is to the size of its text. Metres and CSS pixels. */

const ARC_MINUTES = 16; // least height of text that is read without effort
const PER_MINUTE = Math.PI / (180 * 60);
/** The layout's unit at scale 1: 16 px on 1920 x 1080, and what fits of it on other pictures. */
const [WIDTH_PX, HEIGHT_PX, LEAST_PX] = [1920, 1080, 18];

/** Below this there are more rows than anybody reads; above it panels lose rows that they must show. */
export const SCALES = { least: 0.4, most: 1.3 } as const;
export const STORED = { scale: "city.ui-scale", place: "city.ui-place" } as const;

export interface Place {
  distance_m: number;
  picture_m: number;
}
export interface Picture {
  width: number;
  height: number;
}
export interface Calibration {
  least_mm: number;
  scale: number;
  /** The scale that the distance asks for is beyond what the layout can hold. */
  tooSmall: boolean;
  /** At the scale that is used: how far away the text is still read, metres. */
  reads_m: number;
  /** How high the picture would have to be for this distance, metres. */
  needs_m: number;
}

export function leastText(distance_m: number): number {
  return 2 * distance_m * 1000 * Math.tan((ARC_MINUTES * PER_MINUTE) / 2);
}

/** Height of the least text at scale 1, as a share of the picture's height. */
function share({ width, height }: Picture): number {
  return (LEAST_PX * Math.min(width / WIDTH_PX, height / HEIGHT_PX)) / height;
}

export function calibrated({ distance_m, picture_m }: Place, picture: Picture): Calibration {
  const least_mm = leastText(distance_m);
  const at1_mm = share(picture) * picture_m * 1000;
  const wanted = least_mm / at1_mm;
  const scale = Math.min(SCALES.most, Math.max(SCALES.least, Math.ceil(wanted * 100) / 100));
  return {
    least_mm,
    scale,
    tooSmall: wanted > SCALES.most,
    reads_m: (distance_m * scale) / wanted,
    needs_m: (picture_m * wanted) / SCALES.most,
  };
}

/** Only what a person could have meant: from 0.5 to 60 m away, a picture from 0.1 to 20 m high. */
export function readPlace(distance: unknown, picture: unknown): Place | null {
  const [distance_m, picture_m] = [Number(distance), Number(picture)];
  if (!(distance_m >= 0.5 && distance_m <= 60) || !(picture_m >= 0.1 && picture_m <= 20)) return null;
  return { distance_m, picture_m };
}
