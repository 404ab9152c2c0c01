/**
 * Two tones every two seconds while a first-class incident waits to be acknowledged.
 *
 * Browsers keep audio silent until the page is touched (a kiosk starts them with
 * --autoplay-policy=no-user-gesture-required); `blocked` says so on the screen instead of staying mute.
 */
export const MUTE_MS = 10 * 60 * 1000;
const EVERY_MS = 2000;

/** Milliseconds of silence left, 0 when the mute has run out. */
export function muteLeft(mutedAt: number | null, now: number): number {
  return mutedAt === null ? 0 : Math.max(0, mutedAt + MUTE_MS - now);
}

class Siren {
  blocked = $state(false);
  mutedMs = $state(0);
  private mutedAt: number | null = null;
  private wanted = false;
  private audio: AudioContext | null = null;
  private timer: ReturnType<typeof setInterval> | undefined;

  /** Starts the beat; the returned function ends it. */
  start(): () => void {
    this.audio = new AudioContext();
    this.audio.onstatechange = () => {
      this.look();
    };
    this.timer = setInterval(() => {
      this.beat();
    }, EVERY_MS);
    this.look();
    return () => {
      clearInterval(this.timer);
      void this.audio?.close();
      this.audio = null;
    };
  }

  sound(wanted: boolean): void {
    const begins = wanted && !this.wanted;
    this.wanted = wanted;
    if (begins) this.beat();
  }

  /** Must be called from a click or a key: that is what lifts the browser's block. */
  async unblock(): Promise<void> {
    await this.audio?.resume();
    this.look();
  }

  toggleMute(): void {
    this.mutedAt = muteLeft(this.mutedAt, performance.now()) > 0 ? null : performance.now();
    this.look();
  }

  private look(): void {
    this.blocked = this.audio?.state === "suspended";
    this.mutedMs = muteLeft(this.mutedAt, performance.now());
  }

  private beat(): void {
    this.look();
    if (!this.wanted || this.mutedMs > 0 || this.audio?.state !== "running") return;
    this.tone(880, 0);
    this.tone(660, 0.28);
  }

  private tone(hertz: number, afterS: number): void {
    if (!this.audio) return;
    const start = this.audio.currentTime + afterS;
    const oscillator = this.audio.createOscillator();
    const gain = this.audio.createGain();
    oscillator.frequency.value = hertz;
    gain.gain.setValueAtTime(0.0001, start);
    gain.gain.exponentialRampToValueAtTime(0.4, start + 0.02);
    gain.gain.exponentialRampToValueAtTime(0.0001, start + 0.24);
    oscillator.connect(gain).connect(this.audio.destination);
    oscillator.start(start);
    oscillator.stop(start + 0.25);
  }
}

export const siren = new Siren();
