/** The response level in force and what is proposed, read again when the centre says that it changed. */
import { live } from "../screen/live.svelte";
import { session } from "../staff/session.svelte";
import { api, type ResponseState } from "./api";

class Response {
  state = $state.raw<ResponseState | null>(null);
  problem = $state("");

  follow(): () => void {
    void this.read();
    return live.watchEvents((events) => {
      if (events.some(({ kind }) => kind === "flood.proposed" || kind === "flood.response")) void this.read();
    });
  }

  async read(): Promise<void> {
    try {
      this.state = await api.response();
      this.problem = "";
    } catch (error) {
      this.problem = session.explain(error);
    }
  }
}

export const response = new Response();
