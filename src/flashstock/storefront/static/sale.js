// One sale, one visitor: what happens, and when. What is said about it is in words.js.

import { ShopClock, clockTime, seconds, span } from "./clock.js";
import { Memory, newKey } from "./memory.js";
import { Talk } from "./talk.js";
import { fairness, phaseName, words } from "./words.js";

const TICK_MS = 100;
const LOOK_MS = 1_000;
const LOOK_FAR_MS = 5_000;
const FAR_MS = 60_000;
const CLOCK_SLACK_MS = 500;
const ENDED = new Set(["cancelled", "expired", "revoked", "returned"]);

const part = (id) => document.getElementById(id);
const page = part("sale");
const { pool, buyer } = page.dataset;
const base = `/demo/sales/${encodeURIComponent(pool)}`;
const clock = new ShopClock();
const talk = new Talk(clock);
const memory = new Memory(buyer, pool);

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

function phase() {
  const now = clock.now();
  if (sale.phase !== "not_yet" || now < Date.parse(sale.starts_at)) return sale.phase;
  return sale.available > 0 ? "open" : "sold_out";
}

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
  }
  render();
}

async function lookOn() {
  await look();
  const far = sale && sale.phase === "not_yet" && Date.parse(sale.starts_at) - clock.now() > FAR_MS;
  const every = far || document.hidden ? LOOK_FAR_MS : LOOK_MS;
  setTimeout(lookOn, every * (0.75 + 0.5 * Math.random()));
}

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
    const { hold } = me;
    const overdue = me.step === "held" && hold.expires_at && now >= Date.parse(hold.expires_at);
    if (overdue && lookedAtTheEnd !== hold.id) {
      lookedAtTheEnd = hold.id;
      become({ step: "expired", hold });
      look();
    }
    render();
  }
  setTimeout(tick, TICK_MS);
}

// Only what changed is touched: a status that stays the same is not read aloud again.
function say(id, text) {
  if (part(id).textContent !== text) part(id).textContent = text;
}

function show(id, shown) {
  if (part(id).hidden === shown) part(id).hidden = !shown;
}

function button(id, wanted) {
  const it = part(id);
  const focused = document.activeElement === it;
  show(id, Boolean(wanted));
  if (!wanted) {
    // Whoever uses the keyboard must not fall off the page with the button.
    if (focused) part("status").focus();
    return;
  }
  say(id, wanted.label);
  it.onclick = wanted.act ? acts[wanted.act] : null;
  if (it.disabled !== Boolean(wanted.disabled)) it.disabled = Boolean(wanted.disabled);
  if (wanted.pressed === undefined) it.removeAttribute("aria-pressed");
  else it.setAttribute("aria-pressed", String(wanted.pressed));
}

function renderClock(now, current) {
  const wave = current === "sold_out" && sale.next_wave;
  const until = { not_yet: sale.starts_at, open: sale.ends_at, sold_out: wave ? wave.at : sale.ends_at }[current];
  page.querySelector(".clock").hidden = !until;
  if (!until) return;
  say("clock-label", current === "not_yet" ? "Opens in" : wave ? "More units in" : "Ends in");
  say("clock", span(Date.parse(until) - now));
  const ahead = clock.deviceAhead();
  const differs = Math.abs(ahead) > CLOCK_SLACK_MS;
  const device = differs ? ` Your device's clock is ${seconds(Math.abs(ahead))} ${ahead > 0 ? "ahead" : "behind"}; the shop's counts.` : "";
  say("clock-note", `At ${clockTime(Date.parse(until))} by the shop's clock.${device}`);
}

function renderStock() {
  let x = 0;
  for (const kind of ["available", "held", "sold", "locked"]) {
    say(kind, sale[kind].toLocaleString());
    const width = sale.total ? (100 * sale[kind]) / sale.total : 0;
    const bar = part("stock").querySelector(`.${kind}`);
    bar.setAttribute("x", x);
    bar.setAttribute("width", width);
    x += width;
  }
}

function renderDeadline(now) {
  const { hold } = me;
  const left = Math.max(0, Date.parse(hold.expires_at) - now);
  say("left", span(left));
  part("left-bar").value = Math.min(1, left / (sale.hold_seconds * 1000));
  part("deadline").classList.toggle("short", left < 10_000);
}

function render() {
  if (!sale) {
    if (away) say("status", "The shop can't be reached: trying again");
    return;
  }
  const now = clock.now();
  const current = phase();
  say("phase", phaseName(current));
  part("phase").className = `tag ${current}`;
  renderClock(now, current);
  renderStock();
  const told = words(me, sale, current, now);
  page.querySelector(".turn").className = `turn ${told.tone}`;
  say("status", told.status);
  say("detail", away ? `${told.detail} The shop can't be reached right now; what stands here may be old.` : told.detail);
  show("deadline", Boolean(told.deadline));
  if (told.deadline) renderDeadline(now);
  button("first", told.first);
  button("second", told.second);
  say("fairness", me.step === "idle" || me.step === "armed" ? fairness(sale, current, now) : "");
  show("pretend", Boolean(told.pretend));
}

await look();
await takeUp();
tick();
lookOn();
