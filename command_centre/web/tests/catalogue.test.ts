import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { text, type Entry, type Key } from "../src/i18n/catalogue";
import { catalogue } from "./words";

const keys = Object.keys(catalogue) as Key[];
const places = (words: string) => [...words.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();

describe("the catalogue", () => {
  it.each(keys)("%s has words in both languages with the same places", (key) => {
    const [zh, en] = catalogue[key] as Entry;
    expect(zh.trim()).not.toBe("");
    expect(en.trim()).not.toBe("");
    expect(places(en)).toEqual(places(zh));
  });

  it("has Chinese in the Chinese column and none in the English one", () => {
    const han = /\p{Script=Han}/u;
    const exempt = new Set<Key>(["app.language"]); // names the other language in its own script
    for (const key of keys.filter((one) => !exempt.has(one))) {
      expect(han.test((catalogue[key] as Entry)[0]), key).toBe(true);
      expect(han.test((catalogue[key] as Entry)[1]), key).toBe(false);
    }
  });

  it("holds no text that nothing shows", () => {
    const folder = join(import.meta.dirname, "../src");
    const sources = readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(svelte|ts)$/.test(name) && !name.endsWith("catalogue.ts"))
      .map((name) => readFileSync(join(folder, name), "utf8"))
      .join("\n");
    // Named in full, or by a prefix that is completed with a word of the centre.
    const composed = [...sources.matchAll(/(?:t\(|= )`([\w.]+\.)\$\{/g)].map((match) => match[1] ?? "");
    const worded = [...sources.matchAll(/tOr\("([\w.]+)"/g)].map((match) => `${match[1]}.`);
    const prefixes = [...composed, ...worded];
    const quoted = new Set([...sources.matchAll(/["']([\w-]+(?:\.[\w-]+)+)["']/g)].map((match) => match[1]));
    const shown = (key: Key) =>
      quoted.has(key) || prefixes.some((prefix) => key.startsWith(prefix));
    expect(keys.filter((key) => !shown(key))).toEqual([]);
  });

  it("fills places and leaves an unknown one visible", () => {
    expect(text("app.more", "zh", { n: 3 })).toBe("另有 3 件");
    expect(text("app.more", "en", {})).toBe("{n} more");
  });
});
