/** Incidents of all districts, read again and again: what is shown never grows older unnoticed. */
import { call } from "../http";
import { session } from "../staff/session.svelte";
import { joined, pageWords, type CityPage } from "./citylist";

const EVERY_MS = 5000;
const A_PAGE = 100;

export class CityIncidents {
  page = $state.raw<CityPage | null>(null);
  /** Epoch ms of what is shown. */
  readAt = $state<number | null>(null);
  /** Why the last try brought nothing: what is shown is old. */
  problem = $state("");
  private pages = 1;
  private again: (() => void) | null = null;

  /** Reads until the returned function is called; `query` as `writtenAsked` gives it, `now` the centre's clock. */
  follow(query: string, now: () => number | null): () => void {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let over = false;
    let reading = 0;
    this.pages = 1;
    const read = async (): Promise<void> => {
      clearTimeout(timer);
      const mine = ++reading;
      const found = await this.read(query).catch((error: unknown) => session.explain(error));
      if (over || mine !== reading) return;
      if (typeof found === "string") this.problem = found;
      else [this.page, this.readAt, this.problem] = [found, now(), ""];
      timer = setTimeout(() => void read(), EVERY_MS);
    };
    this.again = () => void read();
    void read();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }

  more(): void {
    this.pages += 1;
    this.again?.();
  }

  private async read(query: string): Promise<CityPage> {
    const found: CityPage[] = [];
    let cursor: string | null = null;
    do {
      const page: CityPage = await call<CityPage>("GET", `/api/city/incidents${pageWords(query, A_PAGE, cursor)}`);
      found.push(page);
      cursor = page.next;
    } while (cursor !== null && found.length < this.pages);
    return joined(found);
  }
}
