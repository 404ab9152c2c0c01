/** Questions to the centre over HTTP. Refusals arrive as problem+json and leave as `Problem`. */

export interface Fault {
  field: string;
  remedy: string;
  remedy_zh?: string;
}

/** A refusal that a person can read: the centre's own words, in both languages, when it gave any. */
export class Problem extends Error {
  /** Fields that were wrong; empty when the whole was. */
  faults: readonly Fault[] = [];
  /** What the same person may do now instead, of a conflict. */
  allowed: readonly string[] = [];
  /** The password was right, and the second factor's code is asked for too. */
  codeWanted = false;
  /** Done only for who shows again who they are. */
  prove = false;

  constructor(
    readonly status: number,
    readonly zh: string,
    readonly en: string,
  ) {
    super(en || `HTTP ${status}`);
  }

  /** The words for one field in both languages, without the field's own name before them; null when it was right. */
  at(field: string): { zh: string; en: string } | null {
    const fault = this.faults.find((one) => one.field === field || one.field.startsWith(`${field}.`));
    if (!fault) return null;
    if (fault.remedy_zh) return { zh: fault.remedy_zh, en: fault.remedy };
    // One fault is worded in Chinese in the detail; several have but the English remedy.
    const zh = this.faults.length === 1 ? this.zh.replace(/^.*?: /, "").replace(/^[\w.]+( = .*?)?：/, "") : "";
    return { zh: zh || fault.remedy, en: fault.remedy };
  }
}

/** Reads a refusal; a body that is no problem+json (a proxy's page) counts as without words. */
export async function problemOf(answer: Response): Promise<Problem> {
  let body: unknown = null;
  try {
    body = await answer.json();
  } catch {
    // No JSON: the status alone must do.
  }
  return problemIn(answer.status, body);
}

export function problemIn(status: number, content: unknown): Problem {
  const body = (content !== null && typeof content === "object" ? content : {}) as Record<string, unknown>;
  const words = (...fields: string[]) =>
    fields
      .map((field) => body[field])
      .filter((part): part is string => typeof part === "string" && part !== "")
      .join(": ");
  const en = words("title", "detail");
  const problem = new Problem(status, words("title_zh", "detail_zh") || en, en);
  if (Array.isArray(body["errors"])) problem.faults = body["errors"] as Fault[];
  problem.codeWanted = body["code_wanted"] === true;
  problem.prove = body["prove"] === true;
  if (Array.isArray(body["allowed"])) problem.allowed = body["allowed"] as string[];
  return problem;
}

export interface Extra {
  /** Refused when the thing has changed since it was read. */
  version?: number | undefined;
  /** The same, by the ETag that `tagged` read. */
  tag?: string | undefined;
  /** Sent twice, done once. */
  key?: string | undefined;
}

export async function call<T>(method: string, path: string, body?: unknown, extra: Extra = {}): Promise<T> {
  const json = body === undefined ? undefined : JSON.stringify(body);
  const answer = await send(method, path, json, "application/json", extra);
  return answer.status === 204 ? (null as T) : ((await answer.json()) as T);
}

/** Sends a file's text, such as a CSV. */
export async function sendText<T>(method: string, path: string, text: string, type: string, extra: Extra = {}): Promise<T> {
  return (await (await send(method, path, text, type, extra)).json()) as T;
}

/** Sends a form with files; the browser itself writes how its parts are divided. */
export async function sendForm<T>(path: string, form: FormData, extra: Extra = {}): Promise<T> {
  return (await (await send("POST", path, form, "", extra)).json()) as T;
}

/** Reads a thing with the ETag that its change wants in If-Match. */
export async function tagged<T>(path: string): Promise<{ value: T; tag: string }> {
  const answer = await send("GET", path, undefined, "");
  return { value: (await answer.json()) as T, tag: answer.headers.get("ETag") ?? "" };
}

let proving: (() => Promise<boolean>) | null = null;

/** Who asks somebody to show again who they are, true when they did; returns how to leave that. */
export function askToProve(ask: () => Promise<boolean>): () => void {
  proving = ask;
  return () => {
    if (proving === ask) proving = null;
  };
}

/** Asks now; true when they showed who they are. For what goes on as a navigation and cannot be sent once more. */
export async function provenNow(): Promise<boolean> {
  return proving !== null && (await proving());
}

/** Sends; what is done only for who shows again who they are is sent once more when they did. */
async function send(...given: Parameters<typeof sendOnce>): Promise<Response> {
  try {
    return await sendOnce(...given);
  } catch (error) {
    if (!(error instanceof Problem) || !error.prove || proving === null || !(await proving())) throw error;
    return sendOnce(...given);
  }
}

async function sendOnce(
  method: string,
  path: string,
  body: string | FormData | undefined,
  type: string,
  { version, tag, key }: Extra = {},
): Promise<Response> {
  const match = tag ?? (version === undefined ? undefined : `"${version}"`);
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      headers: {
        ...(typeof body === "string" ? { "Content-Type": type } : {}),
        ...(match === undefined ? {} : { "If-Match": match }),
        ...(key === undefined ? {} : { "Idempotency-Key": key }),
      },
      ...(body === undefined ? {} : { body }),
    });
  } catch {
    throw new Problem(0, "", ""); // no answer at all
  }
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

/** Sends a form with files; `progress` is called with 0 to 1. fetch does not tell how much has left. */
export function upload<T>(
  path: string,
  form: FormData,
  key: string,
  progress: (share: number) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Idempotency-Key", key);
    request.responseType = "json";
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    };
    request.onerror = request.ontimeout = () => {
      reject(new Problem(0, "", ""));
    };
    request.onload = () => {
      if (request.status < 300) resolve(request.response as T);
      else reject(problemIn(request.status, request.response));
    };
    request.send(form);
  });
}

/** 128 random bits as text. randomUUID is not there on a plain-http address of the own network. */
export function freshKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const seg = (part: string | number) => encodeURIComponent(String(part));
