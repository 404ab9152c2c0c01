import { describe, expect, it } from "vitest";
import { unworded } from "../words";

const book = `export const words = {
  "a.both": ["甲", "A"],
  "a.long": [
    "很长",
    "very \\"long\\"",
  ],
  "a.half": ["乙", ""],
  "a.one": ["丙"],
};`;

describe("a build without words", () => {
  it("names what is shown but worded nowhere, and what lacks a language", () => {
    expect(unworded([book], ['{t("a.both")} {t("a.nowhere", { n: 1 })}', 't("a.long")'])).toEqual([
      "a.half",
      "a.nowhere",
      "a.one",
    ]);
  });
});
