import { expect, test } from "vitest";
import { piece, type Surroundings } from "../src/screen/piece";

function around(answers: boolean[]): Surroundings & { loaded: number[] } {
  let clock = 1_000_000;
  let last = 0;
  const loaded: number[] = [];
  return {
    loaded,
    served: () => Promise.resolve(answers.shift() ?? true),
    again: () => void loaded.push(clock),
    now: () => clock,
    wait: (ms) => {
      clock += ms;
      return Promise.resolve();
    },
    last: () => last,
    mark: (now) => void (last = now),
  };
}

const settled = () => new Promise((done) => setTimeout(done, 5));

test("what loads is given on", async () => {
  const here = around([]);
  await expect(piece(() => Promise.resolve("wall"), here)).resolves.toBe("wall");
  expect(here.loaded).toEqual([]);
});

test("what does not load has the page loaded anew, once a centre answers", async () => {
  const here = around([false, false, true]);
  let done = false;
  void piece(() => Promise.reject(new Error("gone")), here).then(() => (done = true));
  await settled();
  expect(here.loaded).toEqual([1_006_000]);
  expect(done).toBe(false);
});

test("a part that is missing for good loads the page every twenty seconds at most", async () => {
  const here = around([]);
  void piece(() => Promise.reject(new Error("gone")), here);
  await settled();
  void piece(() => Promise.reject(new Error("gone")), here);
  await settled();
  expect(here.loaded).toEqual([1_002_000, 1_022_000]);
});
