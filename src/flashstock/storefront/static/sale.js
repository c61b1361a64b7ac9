// One sale, one visitor: what happens, and when. What is said about it is in words.js.

import { newKey } from "./memory.js";
import { lookOn, opened, phaseAt, renderDeadline, renderNothing, renderSale, renderTold, say, show } from "./page.js";
import { fairness, words } from "./words.js";

const TICK_MS = 100;
const FAR_MS = 60_000;
const ENDED = new Set(["cancelled", "expired", "revoked", "returned"]);

const { page, clock, talk, memory, base } = opened("sale", "sale");

let sale = null;
let away = false;
let me = { step: "idle" };

function become(next) {
  me = next;
  const { key, hold, step } = me;
  memory.write({ step, key, hold, armed: step === "armed" });
  render();
}

const waiting = (step) => (wait) => {
  me = { ...me, step, waiting: wait };
  render();
};

const phase = () => phaseAt(sale, clock.now());

function turn() {
  return sale.starts_at ? Date.parse(sale.starts_at) + sale.opening.yours_ms : 0;
}

const acts = {
  arm: () => become({ step: "armed", dueAt: turn() }),
  disarm: () => become({ step: "idle" }),
  again: () => {
    me = { step: "idle" };
    acts.buy();
  },
  // Whoever comes in the first moments waits for his turn, too.
  buy: () => (clock.now() < turn() ? acts.arm() : reserve(newKey())),
  pay: () => decide("paying", "pay", { receipt: me.hold.receipt }),
  letGo: () => decide("lettingGo", "let-go", {}),
  askAgain: () => (me.hold ? decide(me.doing, me.verb, me.body) : reserve(me.key)),
};

async function reserve(key) {
  become({ step: "asking", key });
  const answer = await talk.insist("POST", `${base}/buy`, { key, quantity: 1 }, waiting("asking"));
  if (answer === null) become({ step: "unknown", key });
  else if (answer.ok) holds(answer.body);
  else if (answer.body.code === "not_started") {
    become({ step: "armed", dueAt: clock.now() + (answer.body.retry_after_ms ?? 0) + sale.opening.yours_ms });
  } else become({ step: "refused", problem: answer.body });
  look();
}

async function decide(doing, verb, body) {
  const { hold } = me;
  become({ step: doing, hold });
  const path = `/demo/reservations/${encodeURIComponent(hold.id)}/${verb}`;
  const answer = await talk.insist("POST", path, body, waiting(doing));
  if (answer === null) become({ step: "unknown", hold, doing, verb, body });
  else if (answer.ok) holds(answer.body);
  else if (answer.body.code === "refund_due") become({ step: "refundDue", hold });
  else if (answer.body.code === "reservation_expired") become({ step: "expired", hold });
  else become({ step: "refused", hold, problem: answer.body });
  look();
}

// The visitor has a reservation, in whatever state it came back.
function holds(hold) {
  if (hold.state === "confirmed") become({ step: "paid", hold });
  else if (hold.state === "cancelled") become({ step: "letGo", hold });
  else if (ENDED.has(hold.state)) become({ step: "expired", hold });
  else become({ step: "held", hold });
}

async function look() {
  const answer = await talk.ask("GET", `${base}/state`);
  away = !answer.decided || !answer.ok;
  if (!away) {
    sale = answer.body;
    const soldOut = me.step === "refused" && me.problem.code === "sold_out";
    if (soldOut && sale.available > 0) become({ step: "idle", came: "back" });
    page.removeAttribute("aria-busy");
    if (isOverdue()) await askForTime();
  }
  render();
}

const isOverdue = () => me.step === "held" && me.hold.expires_at && clock.now() >= Date.parse(me.hold.expires_at);

// Whether the time is up is for the service to say: a hold may have got more of it meanwhile.
async function askForTime() {
  const { hold } = me;
  const answer = await talk.ask("GET", `/demo/reservations/${encodeURIComponent(hold.id)}`);
  if (me.step !== "held" || me.hold !== hold || !answer.decided) return;
  if (answer.ok) holds({ ...hold, ...answer.body });
  else become({ step: "expired", hold });
}

const isFar = () => sale && sale.phase === "not_yet" && Date.parse(sale.starts_at) - clock.now() > FAR_MS;

// What a page that was loaded again has to take up.
async function takeUp() {
  const { step, key, hold, armed } = memory.read();
  if (hold) {
    const answer = await talk.ask("GET", `/demo/reservations/${encodeURIComponent(hold.id)}`);
    if (answer.decided && answer.ok) holds({ ...hold, ...answer.body });
    else if (!answer.decided) become({ step: "held", hold });
    else become({ step: "idle" });
  } else if (key && (step === "asking" || step === "unknown")) reserve(key);
  else if (armed) acts.arm();
}

let lookedAtTheEnd = null;

function tick() {
  if (sale) {
    const now = clock.now();
    if (me.step === "armed" && now >= me.dueAt) reserve(newKey());
    if (isOverdue() && lookedAtTheEnd !== me.hold.expires_at) {
      lookedAtTheEnd = me.hold.expires_at;
      look();
    }
    render();
  }
  setTimeout(tick, TICK_MS);
}

function render() {
  if (!sale) {
    renderNothing(away);
    return;
  }
  const now = clock.now();
  const current = phase();
  renderSale(clock, sale, current);
  const told = words(me, sale, current, now);
  renderTold(told, away, acts);
  show("deadline", Boolean(told.deadline));
  if (told.deadline) renderDeadline(me.hold.expires_at, sale.hold_seconds, now);
  say("fairness", me.step === "idle" || me.step === "armed" ? fairness(sale, current, now) : "");
  show("pretend", Boolean(told.pretend));
}

await look();
await takeUp();
tick();
lookOn(look, isFar);
