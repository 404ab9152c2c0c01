/** A report while it is typed, and as it is sent. */
import { freshKey } from "../http";

export interface Draft {
  text: string;
  category: string;
  nature: string;
  longitude: number | null;
  latitude: number | null;
  cell: string;
  address: string;
  name: string;
  phone: string;
  email: string;
  told_by: "" | "sms" | "email";
  call_back: boolean;
  /** Staff only; the centre chooses for everybody else. */
  channel: string;
  /** Code of the public facility it is about, from its label. */
  component: string;
}

export const NATURES = ["complaint", "consultation", "suggestion", "request", "alarm"] as const;
export const MOST_TEXT = 2000;

export function emptyDraft(): Draft {
  return {
    text: "",
    category: "",
    nature: "",
    longitude: null,
    latitude: null,
    cell: "",
    address: "",
    name: "",
    phone: "",
    email: "",
    told_by: "",
    call_back: false,
    channel: "",
    component: "",
  };
}

/** Fields of a form; what is empty is left out. Six decimals are a tenth of a metre. */
export function fieldsOf(draft: Draft, language: "zh" | "en"): [name: string, value: string][] {
  const reachable = draft.phone.trim() !== "" || draft.email.trim() !== "";
  const fields: Record<string, string> = {
    text: draft.text.trim(),
    category: draft.category,
    nature: draft.nature,
    longitude: draft.longitude?.toFixed(6) ?? "",
    latitude: draft.latitude?.toFixed(6) ?? "",
    cell: draft.cell,
    address: draft.address.trim(),
    "contact.name": draft.name.trim(),
    "contact.phone": draft.phone.trim(),
    "contact.email": draft.email.trim(),
    "contact.told_by": reachable ? draft.told_by : "",
    "contact.call_back": draft.call_back ? "true" : "",
    channel: draft.channel,
    component: draft.component,
    language,
  };
  return Object.entries(fields).filter(([, value]) => value !== "");
}

/** One key for one content: what is sent again after a lost answer is done once, what was changed is another. */
export class OneKey {
  private key = "";
  private content = "";

  for(content: string): string {
    if (content !== this.content || this.key === "") [this.key, this.content] = [freshKey(), content];
    return this.key;
  }
}
