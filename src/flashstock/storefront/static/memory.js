// What this browser has to remember of one sale: the key of a wish that is under way, and the
// hold it became with its receipt. So a page that is loaded again asks on, and takes nothing twice.

export class Memory {
  constructor(buyer, pool) {
    this.name = `flashstock-demo:${buyer}:${pool}`;
  }

  read() {
    try {
      return JSON.parse(localStorage.getItem(this.name)) ?? {};
    } catch {
      return {};
    }
  }

  write(what) {
    try {
      localStorage.setItem(this.name, JSON.stringify(what));
    } catch {
      // Storage may be forbidden; then a page that is loaded again begins anew.
    }
  }
}

// Not crypto.randomUUID: that one is missing where the page came over plain HTTP.
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
