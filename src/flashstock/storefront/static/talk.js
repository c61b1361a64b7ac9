// Asks the shop. What did not come, or came as "not now", is told apart from what was decided.

const ATTEMPTS_MAX = 6;
const FIRST_WAIT_MS = 500;
const WAIT_MAX_MS = 8_000;
const TIMEOUT_MS = 15_000;
const NOT_NOW = new Set([429, 502, 503, 504]);

export class Talk {
  constructor(clock) {
    this.clock = clock;
  }

  // { decided, status, body } or { decided: false, retryAfterMs }
  async ask(method, path, body) {
    const sent = performance.now();
    const options = { method, headers: { Accept: "application/json" }, signal: AbortSignal.timeout(TIMEOUT_MS) };
    if (body !== undefined) {
      options.body = JSON.stringify(body);
      options.headers["Content-Type"] = "application/json";
    }
    let answer, found;
    try {
      answer = await fetch(path, options);
      found = await answer.json();
    } catch {
      return { decided: false, retryAfterMs: null };
    }
    if (found.now) this.clock.heard(found.now, sent, performance.now());
    if (NOT_NOW.has(answer.status)) {
      return { decided: false, retryAfterMs: Number(answer.headers.get("Retry-After")) * 1000 || null };
    }
    return { decided: true, status: answer.status, ok: answer.ok, body: found };
  }

  // Asks again, with the very same request, until it is decided or patience ends (null). Each wait
  // is told before it begins. Part of it is random: who failed together must not return together.
  async insist(method, path, body, waiting) {
    for (let attempt = 1; ; attempt++) {
      const answer = await this.ask(method, path, body);
      if (answer.decided) return answer;
      if (attempt === ATTEMPTS_MAX) return null;
      const doubled = Math.min(WAIT_MAX_MS, FIRST_WAIT_MS * 2 ** (attempt - 1));
      const base = answer.retryAfterMs ?? doubled / 2;
      const wait = Math.min(WAIT_MAX_MS, base + (doubled / 2) * Math.random());
      waiting({ until: performance.now() + wait, attempt: attempt + 1, of: ATTEMPTS_MAX });
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}
