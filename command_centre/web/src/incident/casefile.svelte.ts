/** One incident as the page shows it: read from the centre, read again whenever the screen hub says that it changed. */
import { untrack } from "svelte";
import { api, type Alarm, type Clock, type IncidentDetail, type ReportRow, type TimelineItem, type Wish } from "../desk/api";
import { live } from "../screen/live.svelte";
import { session } from "../staff/session.svelte";
import { pages, type Case, type LinkRow, type Message } from "./api";

const NONE = { items: [] };

export class CaseFile {
  incident = $state.raw<Case | null>(null);
  timeline = $state.raw<TimelineItem[]>([]);
  alarms = $state.raw<Alarm[]>([]);
  clocks = $state.raw<Clock[]>([]);
  wishes = $state.raw<Wish[]>([]);
  reports = $state.raw<ReportRow[]>([]);
  links = $state.raw<LinkRow[]>([]);
  messages = $state.raw<Message[]>([]);
  problem = $state("");
  /** The newest event when it was first read. */
  firstSeq = $state(0);
  private reading: Promise<void> | null = null;
  private again = false;

  constructor(readonly id: string | number) {}

  /** Reads all of it again. What is asked for while it reads is done once, afterwards: a storm changes it often. */
  load(): Promise<void> {
    if (this.reading) {
      this.again = true;
      return this.reading;
    }
    this.reading = this.read().finally(() => {
      this.reading = null;
    });
    return this.reading;
  }

  /** The topic, not the events: a snapshot after a long absence carries no events, but it changes the topic. */
  follow(): () => void {
    return live.watch("incident", (keys) => {
      if (keys === null || keys.has(String(this.id))) untrack(() => void this.load());
    });
  }

  private async read(): Promise<void> {
    do {
      this.again = false;
      try {
        const [one, events, alarms, running, told] = await Promise.all([
          api.incident(this.id),
          api.timeline(this.id),
          pages.alarms(this.id),
          api.clocks(this.id),
          // What was reported decides which actions there are, and none may join those that are read already.
          session.may("worker") ? pages.reports(this.id).catch(() => NONE) : NONE,
        ]);
        const waiting = one.asked?.length && session.may("worker") ? await wishesOf(one) : [];
        [this.incident, this.timeline, this.alarms, this.clocks] = [one, events.items, alarms, running.items];
        [this.wishes, this.reports, this.problem] = [waiting, told.items, ""];
        this.firstSeq ||= events.items.at(-1)?.seq ?? 0;
        await this.readBeside();
      } catch (error) {
        this.problem = session.explain(error);
      }
    } while (this.again);
  }

  /** What lies beside it: the page stands without, and says nothing of what this person may not see. */
  private async readBeside(): Promise<void> {
    const [links, messages] = await Promise.all([
      pages.links(this.id).catch(() => NONE),
      session.may("dispatcher") ? pages.messages(this.id).catch(() => NONE) : NONE,
    ]);
    [this.links, this.messages] = [links.items, messages.items];
  }
}

/** Requests are listed for all incidents together: read on until those of this one are there. */
async function wishesOf(one: IncidentDetail): Promise<Wish[]> {
  const found: Wish[] = [];
  let cursor: string | null = null;
  do {
    const page: Awaited<ReturnType<typeof api.requests>> = await api.requests(cursor);
    found.push(...page.items.filter((wish) => String(wish.incident) === String(one.id)));
    cursor = page.next;
  } while (cursor !== null && found.length < (one.asked?.length ?? 0));
  return found;
}
