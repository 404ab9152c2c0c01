/** Categories that people choose from, and how one is found by a few letters. */
import { call } from "../http";

export interface Choice {
  code: string;
  level: number;
  name: string;
  name_en: string;
  nature: string | null;
}

export interface Option {
  value: string;
  /** What is shown, and searched in. */
  words: string;
  /** Where it belongs; searched in too. */
  hint: string;
}

type Named = (zh: string, en: string) => string;

let asked: Promise<Choice[]> | null = null;

/** Asked for once a page; again after a failure. */
export function choices(): Promise<Choice[]> {
  asked ??= call<{ items: Choice[] }>("GET", "/api/report-categories").then(
    (page) => page.items,
    (error: unknown) => {
      asked = null;
      throw error;
    },
  );
  return asked;
}

export function tops(all: readonly Choice[]): Choice[] {
  return all.filter((one) => one.level === 1);
}

/** Everything below `code`, in the catalogue's order. */
export function below(all: readonly Choice[], code: string): Choice[] {
  return all.filter((one) => one.code.startsWith(`${code}.`));
}

/** Each as an option, with the names above it as its hint. */
export function options(all: readonly Choice[], named: Named): Option[] {
  const names = new Map(all.map((one) => [one.code, named(one.name, one.name_en)]));
  const way = (code: string) => {
    const parts = code.split(".");
    return parts.slice(1).flatMap((_, n) => names.get(parts.slice(0, n + 1).join(".")) ?? []);
  };
  return all.map((one) => ({ value: one.code, words: names.get(one.code) ?? one.code, hint: way(one.code).join(" › ") }));
}

/** Those in which every word is found; what begins with the first word comes first, then the shorter name. */
export function found(all: readonly Option[], typed: string, most: number): Option[] {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  const first = words[0];
  if (first === undefined) return all.slice(0, most);
  const rank = (option: Option) => {
    const name = option.words.toLowerCase();
    return name.startsWith(first) ? 0 : name.includes(first) ? 1 : 2;
  };
  return all
    .filter((option) => {
      const text = `${option.words} ${option.hint} ${option.value}`.toLowerCase();
      return words.every((word) => text.includes(word));
    })
    .map((option) => [rank(option), option] as const)
    .sort(([a, one], [b, other]) => a - b || one.words.length - other.words.length)
    .slice(0, most)
    .map(([, option]) => option);
}
