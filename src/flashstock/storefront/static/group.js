// One group, one visitor: joins, pays, leaves; and what becomes of it. What is said is in group_words.js.

import { count, groupWords, price } from "./group_words.js";
import { newKey } from "./memory.js";
import { countDown, lookOn, opened, part, renderBar, renderDeadline, renderNothing, renderTold, say, show } from "./page.js";

const TICK_MS = 100;
const MEMBERS_SHOWN_MAX = 100;
const LIVE = new Set(["held", "ordered", "paid", "confirmed"]);
const SEAT_WORDS = { held: "not paid yet", ordered: "not paid yet", paid: "paid", confirmed: "paid", returned: "returned" };

const { page, clock, talk, memory, base } = opened("group", "group");

let group = null;
let away = false;
let me = { step: "idle" };
let lookedAtTheEnd = null;

function become(next) {
  me = next;
  memory.write({ step: me.step, key: me.key, hold: me.hold });
  render();
}

const waiting = (wait) => {
  me = { ...me, waiting: wait };
  render();
};

const acts = {
  join: () => join(newKey()),
  pay: () => decide("paying", "pay", { receipt: me.hold.receipt }),
  leave: () => decide("leaving", "let-go", {}),
  askAgain: () => (me.hold ? decide(me.doing, me.verb, me.body) : join(me.key)),
};

async function join(key) {
  become({ step: "joining", key });
  const answer = await talk.insist("POST", `${base}/join`, { key }, waiting);
  if (answer === null) become({ step: "unknown", key });
  else if (answer.ok) become({ step: "idle", hold: answer.body });
  else become({ step: "refused", problem: answer.body });
  look();
}

async function decide(doing, verb, body) {
  const { hold } = me;
  become({ step: doing, hold });
  const answer = await talk.insist("POST", `/demo/reservations/${encodeURIComponent(hold.id)}/${verb}`, body, waiting);
  if (answer === null) become({ step: "unknown", hold, doing, verb, body });
  else if (answer.ok) become({ step: "idle", hold: { ...hold, ...answer.body } });
  else if (answer.body.code === "refund_due") become({ step: "refundDue" });
  // It was decided otherwise meanwhile: the reservation itself says how.
  else await readSeat(hold);
  look();
}

async function readSeat(hold) {
  const before = me;
  const answer = await talk.ask("GET", `/demo/reservations/${encodeURIComponent(hold.id)}`);
  // What the visitor did meanwhile is newer than this answer.
  if (answer.decided && me === before) become(answer.ok ? { step: "idle", hold: { ...hold, ...answer.body } } : { step: "idle" });
}

// Whether what became of the group may have changed the visitor's seat.
function seatIsOld() {
  if (me.step !== "idle") return false;
  if (!me.hold) return group.yours.length > 0;
  if (!LIVE.has(me.hold.state)) return false;
  if (group.state === "formed") return me.hold.state !== "confirmed";
  if (group.state === "failed") return true;
  return group.members.length < MEMBERS_SHOWN_MAX && !group.yours.includes(me.hold.id);
}

async function look() {
  const answer = await talk.ask("GET", `${base}/state`);
  away = !answer.decided || !answer.ok;
  if (!away) {
    group = answer.body;
    page.removeAttribute("aria-busy");
    const over = me.step === "refused" && group.state === "open" && group.free_seats > 0 && me.problem.code === "group_full";
    if (over) become({ step: "idle" });
    if (seatIsOld()) await readSeat(me.hold ?? { id: group.yours[0] });
    renderMembers();
  }
  render();
}

function renderMembers() {
  const lines = group.members.map((member) =>
    [SEAT_WORDS[member.state] ?? member.state, member.opener ? "leads the group" : "", member.yours ? "you" : ""].filter(Boolean).join(", "),
  );
  if (group.house) lines.push(`${count(group.house, "seat", "seats")} completed by the house`);
  const list = part("members");
  const old = Array.from(list.children, (line) => line.textContent);
  if (old.join("\n") === lines.join("\n")) return;
  list.replaceChildren(
    ...lines.map((text) => {
      const line = document.createElement("li");
      line.textContent = text;
      return line;
    }),
  );
}

function renderPrice() {
  show("prices", group.price_minor !== null || group.next_price !== null);
  say("price-now", group.price_minor === null ? "No price is reached yet." : `${price(group.price_minor)}, for everybody in it.`);
  const next = group.next_price;
  say("price-next", next ? `${price(next.price_minor)} with ${count(next.missing, "more member", "more members")} (${next.seats} paid).` : "");
}

function tick() {
  if (group) {
    const now = clock.now();
    const seatEnds = me.hold && ["held", "ordered"].includes(me.hold.state) && me.step === "idle" && now >= Date.parse(me.hold.expires_at);
    if (seatEnds) become({ step: "idle", hold: { ...me.hold, state: "expired" } });
    const ends = group.state === "open" && now >= Date.parse(group.ends_at);
    if ((ends || seatEnds) && lookedAtTheEnd !== group.now) {
      lookedAtTheEnd = group.now;
      look();
    }
    render();
  }
  setTimeout(tick, TICK_MS);
}

function render() {
  if (!group) {
    renderNothing(away);
    return;
  }
  const now = clock.now();
  say("phase", { open: "open", formed: "formed", failed: "failed" }[group.state]);
  part("phase").className = `tag ${{ open: "open", formed: "open", failed: "ended" }[group.state]}`;
  show("clock-card", group.state === "open");
  if (group.state === "open") countDown(clock, "Time left", Date.parse(group.ends_at));
  // Of a group that failed nobody has a seat any more.
  show("seats", group.state !== "failed");
  say("missing", group.state === "open" ? `${count(group.missing, "member", "members")} missing` : `${group.paid} of ${group.size} paid`);
  const free = Math.max(0, group.size - group.paid - group.house - group.pending);
  renderBar({ sold: group.paid + group.house, held: group.pending, available: free }, group.size);
  renderPrice();
  const told = groupWords(me, group, now);
  renderTold(told, away, acts);
  show("deadline", Boolean(told.deadline));
  if (told.deadline) renderDeadline(me.hold.expires_at, group.hold_seconds, now);
  show("pretend", Boolean(told.pretend));
  show("share", group.state === "open");
  show("elsewhere", group.state !== "open" || group.free_seats === 0);
}

const link = part("link");
link.value = location.origin + location.pathname;
link.addEventListener("focus", () => link.select());
part("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(link.value);
    say("copied", "Copied.");
  } catch {
    // Only pages that came over TLS, or from this machine, may write there.
    link.select();
    say("copied", "It is marked: copy it with your keyboard or by its menu.");
  }
});

await look();
const { step, key, hold } = memory.read();
if (hold) await readSeat(hold);
else if (key && (step === "joining" || step === "unknown")) join(key);
tick();
lookOn(look);
