import { named, t, tOr } from "../i18n/language.svelte";
import { Problem } from "../http";
import { api, type Role, type User } from "../desk/api";
import { meets, type Needs } from "./roles";

class Session {
  user = $state.raw<User | null>(null);
  known = $state(false);
  /** The log-in has ended while somebody was at work: their page stays as it is, and asks for the log-in first. */
  ended = $state(false);

  async find(): Promise<void> {
    try {
      this.user = (await api.session()).user;
      this.ended = false;
    } catch (error) {
      if (this.user === null || !(error instanceof Problem)) this.user = null;
      else if (error.status === 401) this.ended = true;
    }
    this.known = true;
  }

  async logIn(name: string, password: string, code: string): Promise<void> {
    this.user = (await api.logIn(name, password, code)).user;
    this.ended = false;
  }

  async changePassword(current: string, fresh: string): Promise<void> {
    await api.changePassword(current, fresh);
    await this.find();
  }

  may(needs: Needs): boolean {
    return this.user !== null && meets(this.user.role, needs);
  }

  get role(): Role {
    return this.user?.role ?? "viewer";
  }

  async logOut(): Promise<void> {
    const more = await api.logOut();
    [this.user, this.ended] = [null, false];
    if (more?.continue_at) window.location.assign(more.continue_at); // the provider's own session ends there
  }

  /** What to show for a failure; an ended session also brings the log-in form back. */
  explain(error: unknown): string {
    if (!(error instanceof Problem)) return String(error);
    if (error.status === 0) return t("error.network");
    if (error.status === 401 && this.user && !this.ended && !error.codeWanted) {
      this.ended = true;
      return t("login.expired");
    }
    const words = named(error.zh, error.en) || t("error.status", { status: error.status });
    if (error.allowed.length === 0) return words;
    return `${words} ${t("action.now_possible", { list: error.allowed.map((one) => tOr("action", one)).join(", ") })}`;
  }
}

export const session = new Session();
