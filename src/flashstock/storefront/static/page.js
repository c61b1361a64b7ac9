// What pages that are live have in common: only what changed is touched, so that nothing that stays
// the same is read aloud again.

import { ShopClock, clockTime, seconds, span } from "./clock.js";
import { Memory } from "./memory.js";
import { Talk } from "./talk.js";
import { phaseName } from "./words.js";

const CLOCK_SLACK_MS = 500;
const LOOK_MS = 1_000;
const LOOK_FAR_MS = 5_000;

// What a page works with: its part of the document, the shop's clock, the shop, and what is
// remembered of `name`, which the page is about.
export function opened(id, name) {
  const page = part(id);
  const { buyer, [name]: about } = page.dataset;
  const clock = new ShopClock();
  return { page, buyer, clock, talk: new Talk(clock), memory: new Memory(buyer, about), base: `/demo/${name}s/${encodeURIComponent(about)}` };
}

// Looks again and again: less often where nobody sees it, or while it is far from anything. Part of
// the wait is random: pages that were loaded together must not ask together.
export async function lookOn(look, isFar = () => false) {
  await look();
  const every = document.hidden || isFar() ? LOOK_FAR_MS : LOOK_MS;
  setTimeout(() => lookOn(look, isFar), every * (0.75 + 0.5 * Math.random()));
}

export const part = (id) => document.getElementById(id);

export function say(id, text) {
  if (part(id).textContent !== text) part(id).textContent = text;
}

export function show(id, shown) {
  if (part(id).hidden === shown) part(id).hidden = !shown;
}

function button(id, wanted, acts) {
  const it = part(id);
  // Whoever uses the keyboard must not fall off the page with a button that goes, or does nothing.
  const focused = document.activeElement === it;
  show(id, Boolean(wanted));
  if (!wanted) {
    if (focused) part("status").focus();
    return;
  }
  say(id, wanted.label);
  it.onclick = wanted.act ? acts[wanted.act] : null;
  if (it.disabled !== Boolean(wanted.disabled)) it.disabled = Boolean(wanted.disabled);
  if (focused && it.disabled) part("status").focus();
  if (wanted.pressed === undefined) it.removeAttribute("aria-pressed");
  else it.setAttribute("aria-pressed", String(wanted.pressed));
}

// Counts down to a moment of the shop's clock, and tells by how much the device's differs.
export function countDown(clock, label, until) {
  say("clock-label", label);
  say("clock", span(until - clock.now()));
  const ahead = clock.deviceAhead();
  const differs = Math.abs(ahead) > CLOCK_SLACK_MS;
  const device = differs ? ` Your device's clock is ${seconds(Math.abs(ahead))} ${ahead > 0 ? "ahead" : "behind"}; the shop's counts.` : "";
  say("clock-note", `At ${clockTime(until)} by the shop's clock.${device}`);
}

// The clock of a sale: until it opens, until more units come, or until it ends.
function renderClock(clock, sale, current) {
  const wave = current === "sold_out" && sale.next_wave;
  const until = { not_yet: sale.starts_at, open: sale.ends_at, sold_out: wave ? wave.at : sale.ends_at }[current];
  document.querySelector(".clock").hidden = !until;
  if (!until) return;
  countDown(clock, current === "not_yet" ? "Opens in" : wave ? "More units in" : "Ends in", Date.parse(until));
}

// A bar of parts that add up, with their numbers below it.
export function renderBar(counts, total) {
  let x = 0;
  for (const [kind, count] of Object.entries(counts)) {
    say(kind, count.toLocaleString());
    const width = total ? (100 * count) / total : 0;
    const bar = part("stock").querySelector(`.${kind}`);
    bar.setAttribute("x", x);
    bar.setAttribute("width", width);
    x += width;
  }
}

// What a sale is, and how its units are spread.
export function renderSale(clock, sale, current) {
  say("phase", phaseName(current));
  part("phase").className = `tag ${current}`;
  renderClock(clock, sale, current);
  const { available, held, sold, locked, total } = sale;
  renderBar({ available, held, sold, locked }, total);
}

// What the visitor is told, and may do. `away`: it is from before the shop stopped to answer.
export function renderTold(told, away, acts) {
  document.querySelector(".turn").className = `turn ${told.tone}`;
  say("status", told.status);
  say("detail", away ? `${told.detail} The shop can't be reached right now; what stands here may be old.` : told.detail);
  button("first", told.first, acts);
  button("second", told.second, acts);
}

// Before the shop has answered once.
export function renderNothing(away) {
  if (away) say("status", "The shop can't be reached: trying again");
}

export function renderDeadline(expiresAt, holdSeconds, now) {
  const left = Math.max(0, Date.parse(expiresAt) - now);
  say("left", span(left));
  part("left-bar").value = Math.min(1, left / (holdSeconds * 1000));
  part("deadline").classList.toggle("short", left < 10_000);
}

// The phase of a sale at this moment: it opens by the clock, not by the next look.
export function phaseAt(sale, now) {
  if (sale.phase !== "not_yet" || now < Date.parse(sale.starts_at)) return sale.phase;
  return sale.available > 0 ? "open" : "sold_out";
}
