/** Fails the build when a page would show a key instead of words: one that no book has, or that lacks a language. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";

const ENTRY = /"([\w.-]+)":\s*\[\s*"((?:[^"\\]|\\.)*)",\s*"((?:[^"\\]|\\.)*)",?\s*\]/g;
const BEGUN = /^ {2}"([\w.-]+)":/gm;
const SHOWN = /\bt\(\s*"([\w.-]+)"/g;

/** Keys that are shown but not worded, and keys without words in both languages. */
export function unworded(books: readonly string[], sources: readonly string[]): string[] {
  const worded = new Set<string>();
  const begun = new Set<string>();
  for (const book of books) {
    for (const [, key = ""] of book.matchAll(BEGUN)) begun.add(key);
    for (const [, key = "", zh = "", en = ""] of book.matchAll(ENTRY)) if (zh.trim() && en.trim()) worded.add(key);
  }
  const shown = new Set(sources.flatMap((text) => [...text.matchAll(SHOWN)].map(([, key = ""]) => key)));
  return [...new Set([...begun, ...shown])].filter((key) => !worded.has(key)).sort();
}

export function wordsChecked(folder: string): Plugin {
  return {
    name: "words-checked",
    buildStart() {
      const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
      const read = (name: string) => readFileSync(join(folder, name), "utf8");
      const books = names.filter((name) => /catalogue\.ts$/.test(name)).map(read);
      const sources = names.filter((name) => /\.(svelte|ts)$/.test(name) && !/catalogue\.ts$/.test(name)).map(read);
      const missing = unworded(books, sources);
      if (missing.length > 0) this.error(`no words in both languages for: ${missing.join(", ")}`);
    },
  };
}
