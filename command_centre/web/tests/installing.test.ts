/** The field's page installs its worker again when a file of it did not arrive. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";

class Worker extends EventTarget {
  state = "installing";

  become(state: string): void {
    this.state = state;
    this.dispatchEvent(new Event("statechange"));
  }
}

class Place extends EventTarget {
  installing: Worker | null = new Worker();
  waiting = null;
  active: Worker | null = null;
}

const register = vi.fn<() => Promise<Place>>();

beforeEach(() => {
  vi.useFakeTimers();
  vi.resetModules();
  register.mockReset();
  const workers = Object.assign(new EventTarget(), { register, controller: null });
  vi.stubGlobal("navigator", { serviceWorker: workers });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function followed(): Promise<() => void> {
  const { installing } = await import("../src/field/installing.svelte");
  const stop = installing.follow();
  await vi.advanceTimersByTimeAsync(0);
  return stop;
}

test("a registration that was refused and one whose files did not arrive are tried again", async () => {
  const place = new Place();
  register.mockRejectedValueOnce(new Error("the centre starts")).mockResolvedValue(place);
  const stop = await followed();
  expect(register).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(register).toHaveBeenCalledTimes(2);
  place.installing?.become("redundant");
  await vi.advanceTimersByTimeAsync(5_000);
  expect(register).toHaveBeenCalledTimes(3);
  stop();
});

test("what is in place is left alone, and so is a page that went", async () => {
  const place = new Place();
  register.mockResolvedValue(place);
  const stop = await followed();
  const worker = place.installing;
  place.active = worker;
  worker?.become("activated");
  worker?.become("redundant"); // another one took over
  await vi.advanceTimersByTimeAsync(10_000);
  expect(register).toHaveBeenCalledTimes(1);
  place.active = null;
  worker?.become("redundant");
  stop();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(register).toHaveBeenCalledTimes(1);
});
