import { isKey, text, type Key, type Language } from "./catalogue";

export type { Key };

const STORED = "city.language";

function chosen(): Language {
  const asked = new URLSearchParams(window.location.search).get("lang") ?? localStorage.getItem(STORED);
  return asked === "en" || asked === "zh" ? asked : "zh";
}

class Speech {
  current = $state<Language>(chosen());

  use(language: Language): void {
    this.current = language;
    localStorage.setItem(STORED, language);
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  }

  toggle(): void {
    this.use(this.current === "zh" ? "en" : "zh");
  }
}

export const language = new Speech();
language.use(language.current);

export function t(key: Key, values: Record<string, string | number> = {}): string {
  return text(key, language.current, values);
}

/** A text for a word the server chose, such as a state: the word itself when the catalogue lacks it. */
export function tOr(prefix: string, word: string): string {
  const key = `${prefix}.${word}`;
  return isKey(key) ? text(key, language.current) : word;
}

/** The name in the language in use, else in the other one. */
export function named(zh: string | null | undefined, en: string | null | undefined): string {
  return (language.current === "zh" ? zh || en : en || zh) ?? "";
}
