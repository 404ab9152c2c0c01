/** Punctuation between parts of a sentence, in the language in use. */
import { language } from "../../i18n/language.svelte";

const chinese = () => language.current === "zh";

export const comma = (): string => (chinese() ? "、" : ", ");
export const semicolon = (): string => (chinese() ? "；" : "; ");
export const colon = (): string => (chinese() ? "：" : ": ");
