// The shop's clock, as well as it can be known here. A visitor's own clock decides nothing.

const SAMPLES_MAX = 8;

export class ShopClock {
  #samples = [];

  // An answer said what time it was; it was written somewhere between `sent` and `received`
  // (performance.now()), so the fastest answers say it best.
  heard(text, sent, received) {
    const slack = received - sent;
    this.#samples.push({ offset: Date.parse(text) - (sent + slack / 2), slack });
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
  }

  get known() {
    return this.#samples.length > 0;
  }

  // Milliseconds since the epoch, by the shop.
  now() {
    return performance.now() + this.#best().offset;
  }

  // How far this device's clock is ahead of the shop's, in ms.
  deviceAhead() {
    return Date.now() - this.now();
  }

  #best() {
    return this.#samples.reduce((best, one) => (one.slack < best.slack ? one : best));
  }
}

// 1:02:03, 02:03, and with a tenth for the last ten seconds: 9.4 s
export function span(ms) {
  const left = Math.max(0, ms);
  if (left < 10_000) return `${(Math.floor(left / 100) / 10).toFixed(1)} s`;
  const seconds = Math.ceil(left / 1000);
  const parts = [Math.floor(seconds / 60) % 60, seconds % 60].map((n) => String(n).padStart(2, "0"));
  const hours = Math.floor(seconds / 3600);
  return hours ? [hours, ...parts].join(":") : parts.join(":");
}

export function clockTime(ms) {
  return new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

export function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}
