/**
 * The keys of the view that is shown. Whoever has something to do by a key registers it while it is on the page, so
 * that the list behind `?` can never name a key that does nothing, nor forget one that does.
 */
import type { Key } from "../i18n/language.svelte";

export interface Binding {
  /** As `nameOf` says it: "j", "?", "Enter", "Space", "Ctrl+a", "Shift+ArrowDown". The first is the one shown first. */
  keys: readonly string[];
  says: Key;
  does: (event: KeyboardEvent) => void;
  /** False: not now (nothing is chosen, the role may not); the key is then left to others and not listed. */
  when?: () => boolean;
  /** Also while somebody types in a field, as Escape does. */
  typing?: boolean;
}

export interface Group {
  title: Key;
  bindings: readonly Binding[];
}

/** A key with its modifiers. Shift is named only where the key itself does not tell: "?" is "?", not "Shift+?". */
export function nameOf(event: Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "altKey" | "shiftKey">): string {
  const letter = event.key.length === 1 && !event.shiftKey ? event.key.toLowerCase() : event.key; // Caps Lock
  const key = letter === " " ? "Space" : letter;
  const shift = event.shiftKey && (key.length > 1 || event.ctrlKey || event.metaKey) ? "Shift+" : "";
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${shift}${key}`;
}

const SIGNS: Record<string, string> = {
  ArrowDown: "↓",
  ArrowUp: "↑",
  ArrowLeft: "←",
  ArrowRight: "→",
  PageDown: "PgDn",
  PageUp: "PgUp",
  Escape: "Esc",
};

/** What stands on the key. */
export function signOf(name: string): string {
  const parts = name.split("+");
  const key = parts.pop() ?? "";
  return [...parts, SIGNS[key] ?? (parts.length > 0 && key.length === 1 ? key.toUpperCase() : key)].join(" + ");
}

const NO_TEXT = ["checkbox", "radio", "button", "submit", "file"];

/** Fields in which letters are text. A tick box or a button is none. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !NO_TEXT.includes(target.type);
  return target.isContentEditable || ["SELECT", "TEXTAREA"].includes(target.tagName);
}

/** What the element under the focus does with the key itself. */
function isItsOwn(target: EventTarget | null, name: string): boolean {
  if (name !== "Enter" && name !== "Space") return false;
  return target instanceof HTMLElement && target.closest("button, a, summary, input, [role=button]") !== null;
}

export class KeyBook {
  private groups: Group[] = [];

  /** Until the returned function is called. What came last goes first, so a form may take a key from its list. */
  use(title: Key, bindings: readonly Binding[]): () => void {
    const group = { title, bindings };
    this.groups = [group, ...this.groups];
    return () => {
      this.groups = this.groups.filter((one) => one !== group);
    };
  }

  /** What keys do now, for people; groups of one title are one, in the order in which they came. */
  listed(): Group[] {
    const found = new Map<Key, Binding[]>();
    for (const { title, bindings } of [...this.groups].reverse()) {
      const able = bindings.filter((one) => one.when?.() ?? true);
      if (able.length > 0) found.set(title, [...(found.get(title) ?? []), ...able]);
    }
    return [...found].map(([title, bindings]) => ({ title, bindings }));
  }

  find(name: string, typing: boolean): Binding | null {
    for (const { bindings } of this.groups) {
      const found = bindings.find(
        (one) => one.keys.includes(name) && (!typing || one.typing === true) && (one.when?.() ?? true),
      );
      if (found) return found;
    }
    return null;
  }

  press(event: KeyboardEvent): void {
    if (event.defaultPrevented || event.isComposing) return;
    // What lies under a dialog, or waits for a log-in, is out of reach for the keyboard as it is for the mouse.
    if (document.querySelector("dialog:modal, main[inert]")) return;
    const name = nameOf(event);
    if (isItsOwn(event.target, name)) return;
    const binding = this.find(name, isTyping(event.target));
    if (!binding) return;
    event.preventDefault();
    binding.does(event);
  }
}

export const keys = new KeyBook();
if (typeof window !== "undefined") {
  window.addEventListener("keydown", (event) => {
    keys.press(event);
  });
}
