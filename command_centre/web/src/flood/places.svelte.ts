/** Streets, communities and cells by name, asked for once a page: they change with an import. */
import { named } from "../i18n/language.svelte";
import { api, every, type Area } from "./api";

export interface Option {
  code: string;
  words: string;
}

class Ground {
  areas = $state.raw<readonly Area[]>([]);
  private asked: Promise<void> | null = null;

  load(): Promise<void> {
    this.asked ??= this.ask().catch((error: unknown) => {
      this.asked = null;
      throw error;
    });
    return this.asked;
  }

  private async ask(): Promise<void> {
    const layers = await Promise.all(
      ["street", "community", "cell"].map((level) => every((cursor) => api.areas(level, cursor))),
    );
    this.areas = layers.flat();
  }

  options(levels: readonly string[]): Option[] {
    return this.areas.filter((area) => levels.includes(area.level)).map((area) => ({ code: area.code, words: wordsOf(area) }));
  }

  nameOf(code: string): string {
    const area = this.areas.find((one) => one.code === code);
    return area ? wordsOf(area) : code;
  }
}

const wordsOf = (area: Area): string => {
  const name = named(area.name, area.name_en);
  return name === "" || name === area.code ? area.code : `${name} (${area.code})`;
};

export const ground = new Ground();
