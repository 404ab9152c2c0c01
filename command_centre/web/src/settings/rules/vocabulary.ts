/** The district's words that a rule may name, by the key that names them. */
import type { Kinds } from "./api";

export interface Word {
  code: string;
  name: string;
  name_en: string;
}

export class Vocabulary {
  readonly #kinds: Kinds | null;
  readonly #categories: readonly Word[];

  constructor(kinds: Kinds | null, categories: readonly Word[]) {
    this.#kinds = kinds;
    this.#categories = categories;
  }

  /** What to propose for a key; nothing for a key that takes any text. */
  of(path: string): readonly Word[] {
    const key = path.split(".").at(-1) ?? "";
    if (key === "kind" || key === "kinds") return this.#kinds?.device_kinds ?? [];
    if (key === "metric") return this.#kinds?.metrics ?? [];
    if (key === "category") return this.#categories;
    return [];
  }

  /** The unit of a metric; empty when it has none or is not known. */
  unit(metric: unknown): string {
    return this.#kinds?.metrics.find((one) => one.code === metric)?.unit ?? "";
  }
}
