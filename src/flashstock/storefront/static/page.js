// What pages that are live have in common: only what changed is touched, so that nothing that stays
// the same is read aloud again.

import { clockTime, seconds, span } from "./clock.js";

const CLOCK_SLACK_MS = 500;

export const part = (id) => document.getElementById(id);

export function say(id, text) {
  if (part(id).textContent !== text) part(id).textContent = text;
}

export function show(id, shown) {
  if (part(id).hidden === shown) part(id).hidden = !shown;
}

export function button(id, wanted, acts) {
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
export function renderClock(clock, sale, current) {
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

export function renderStock({ available, held, sold, locked, total }) {
  renderBar({ available, held, sold, locked }, total);
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
