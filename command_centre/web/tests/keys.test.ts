import { describe, expect, it } from "vitest";
import { KeyBook, nameOf, signOf, type Binding } from "../src/ui/keys";

const event = (key: string, changed: Partial<KeyboardEvent> = {}) => ({
  key,
  ctrlKey: false,
  metaKey: false,
  altKey: false,
  shiftKey: false,
  ...changed,
});
const binding = (keys: string[], changed: Partial<Binding> = {}): Binding => ({
  keys,
  says: "keys.help",
  does: () => undefined,
  ...changed,
});

describe("a key's name", () => {
  it.each([
    [event("j"), "j"],
    [event("J"), "j"], // Caps Lock
    [event("J", { shiftKey: true }), "J"],
    [event("?", { shiftKey: true }), "?"],
    [event(" "), "Space"],
    [event("ArrowDown", { shiftKey: true }), "Shift+ArrowDown"],
    [event("a", { ctrlKey: true }), "Ctrl+a"],
    [event("a", { metaKey: true }), "Ctrl+a"],
  ])("%o is %s", (pressed, name) => {
    expect(nameOf(pressed)).toBe(name);
  });
  it("is shown as it stands on the key", () => {
    expect(["j", "Ctrl+a", "Shift+ArrowDown", "Escape"].map(signOf)).toEqual(["j", "Ctrl + A", "Shift + ↓", "Esc"]);
  });
});

describe("the keys of a page", () => {
  it("belong to whoever came last, and go back when that one leaves", () => {
    const book = new KeyBook();
    const [list, form] = [binding(["a", "Escape"]), binding(["Escape"], { typing: true })];
    book.use("keys.list", [list]);
    const leave = book.use("keys.title", [form]);
    expect(book.find("Escape", false)).toBe(form);
    expect(book.find("a", false)).toBe(list);
    leave();
    expect(book.find("Escape", false)).toBe(list);
  });
  it("do nothing while somebody types, unless they are made for it", () => {
    const book = new KeyBook();
    const escape = binding(["Escape"], { typing: true });
    book.use("keys.list", [binding(["a"]), escape]);
    expect(book.find("a", true)).toBeNull();
    expect(book.find("Escape", true)).toBe(escape);
  });
  it("that can do nothing now are neither listed nor taken from others", () => {
    const book = new KeyBook();
    const able = binding(["a"]);
    book.use("keys.list", [able]);
    book.use("keys.title", [binding(["a"], { when: () => false })]);
    expect(book.find("a", false)).toBe(able);
    expect(book.listed()).toEqual([{ title: "keys.list", bindings: [able] }]);
  });
  it("are listed under one title when several parts share it", () => {
    const book = new KeyBook();
    book.use("keys.list", [binding(["a"])]);
    book.use("keys.list", [binding(["b"])]);
    expect(book.listed().map((one) => one.bindings.map((each) => each.keys[0]))).toEqual([["a", "b"]]);
  });
});
