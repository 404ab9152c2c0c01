/** A photo as it is kept and sent: at most 1600 pixels a side, JPEG, and nothing in it but the picture. */
import type { KeptPhoto } from "./types";

export const LONGEST_PX = 1600;
const PREVIEW_PX = 160;
const QUALITY = 0.82;

export interface Shot {
  photo: KeptPhoto;
  /** A data: address: the content policy knows no blob: ones. */
  preview: string;
}

/** Size with the longer side at most `most`, proportions kept. */
export function fitted(width: number, height: number, most: number): [width: number, height: number] {
  const scale = Math.min(1, most / Math.max(width, height));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

/** Throws when the file is no picture. Drawn anew, it has lost position, camera and time of the original. */
export async function shrunk(file: File): Promise<Shot> {
  const picture = await createImageBitmap(file);
  try {
    const canvas = drawn(picture, LONGEST_PX);
    const blob = await new Promise<Blob | null>((resolve) => {
      canvas.toBlob(resolve, "image/jpeg", QUALITY);
    });
    if (!blob) throw new Error("this browser writes no JPEG");
    const name = `${file.name.replace(/\.\w+$/, "").slice(0, 60) || "photo"}.jpg`;
    const preview = drawn(picture, PREVIEW_PX).toDataURL("image/jpeg", 0.8);
    return { photo: { bytes: await blob.arrayBuffer(), name }, preview };
  } finally {
    picture.close();
  }
}

function drawn(picture: ImageBitmap, most: number): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = fitted(picture.width, picture.height, most);
  canvas.getContext("2d")?.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas;
}
