import { coreWords, speak, type Entry } from "../src/i18n/catalogue";

const books = import.meta.glob<Record<string, Record<string, Entry>>>("../src/i18n/*.catalogue.ts", { eager: true });

/** The words of every view at once, as no page has them. */
export const catalogue: Record<string, Entry> = Object.assign(
  {},
  coreWords,
  ...Object.values(books).flatMap((book) => Object.values(book)),
);
speak(catalogue);
