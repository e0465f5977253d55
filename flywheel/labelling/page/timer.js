// Seconds of work on an image: only while the page is seen and something was moved or pressed a moment ago.

const PATIENCE = 30000; // ms without a sign of work after which the clock stands still

export class Timer {
  #active = 0;
  #last = performance.now();

  constructor(signals) {
    this.seconds = 0;
    for (const name of ["pointermove", "pointerdown", "keydown", "wheel"]) {
      addEventListener(name, () => (this.#active = performance.now()), { passive: true, capture: true });
    }
    setInterval(() => {
      this.#tick();
      signals.tell("time");
    }, 1000);
  }

  #tick() {
    const now = performance.now();
    if (!document.hidden && now - this.#active < PATIENCE) this.seconds += (now - this.#last) / 1000;
    this.#last = now;
  }

  start(seconds) {
    this.#tick();
    this.seconds = seconds;
  }

  get working() {
    return !document.hidden && performance.now() - this.#active < 2 * 60000;
  }
}

export function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
