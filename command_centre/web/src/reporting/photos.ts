/** Photos before they are sent: the same limits as the centre's, so that nobody uploads 10 MB to be refused. */
export const MOST_PHOTOS = 5;
export const LARGEST = 10 * 1024 * 1024;
const KINDS = ["image/jpeg", "image/png", "image/webp"];
const PREVIEW_PX = 160;

export type Fault = "kind" | "size" | "many" | "unreadable";

export interface Photo {
  file: File;
  /** A data: address: the content policy knows no blob: ones. */
  preview: string;
}

/** Why a file cannot be sent; null when it can. `beside` is how many are there already. */
export function faultOf(file: Pick<File, "type" | "size">, beside: number): Fault | null {
  if (!KINDS.includes(file.type)) return "kind";
  if (file.size > LARGEST) return "size";
  return beside >= MOST_PHOTOS ? "many" : null;
}

/** The file with a small picture of it; throws when it is no picture. */
export async function opened(file: File): Promise<Photo> {
  const picture = await createImageBitmap(file);
  const scale = Math.min(1, PREVIEW_PX / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  canvas.getContext("2d")?.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return { file, preview: canvas.toDataURL("image/jpeg", 0.8) };
}
