/** One piece of work with the centre at a time: whether it runs, and the refusal in words. */
import { named } from "../../i18n/language.svelte";
import { Problem } from "../../http";
import { session } from "../../staff/session.svelte";

export class Work {
  busy = $state(false);
  /** What to show; empty when all went well. */
  problem = $state("");
  /** The refusal itself, for the words at its fields. */
  refusal = $state.raw<Problem | null>(null);

  /** True when it was done. */
  async run(work: () => Promise<void>): Promise<boolean> {
    this.busy = true;
    try {
      await work();
      this.clear();
      return true;
    } catch (error) {
      this.problem = session.explain(error);
      this.refusal = error instanceof Problem ? error : null;
      return false;
    } finally {
      this.busy = false;
    }
  }

  /** Whether something that must be said was said; if not, these words are shown. */
  given(text: string, otherwise: string): boolean {
    this.clear();
    if (text.trim() !== "") return true;
    this.problem = otherwise;
    return false;
  }

  clear(): void {
    this.problem = "";
    this.refusal = null;
  }

  /** What is wrong with one field, in the language in use; empty when it was right. */
  at(field: string): string {
    const words = this.refusal?.at(field);
    return words ? named(words.zh, words.en) : "";
  }
}
