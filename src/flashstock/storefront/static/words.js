// What the page says, by where the sale and the visitor are. No seconds stand in `status`: it is
// read aloud whenever it changes.

import { clockTime, seconds, span } from "./clock.js";

const PHASES = { not_yet: "not yet open", open: "on sale", sold_out: "sold out", paused: "paused", ended: "ended" };

export const phaseName = (phase) => PHASES[phase];

const units = (count) => `${count.toLocaleString()} ${count === 1 ? "unit" : "units"}`;

// How the first moments are shared out, and this visitor's part of it.
export function fairness(sale, phase, now) {
  const { spread_ms: spread, yours_ms: yours } = sale.opening;
  const opening = sale.starts_at ? Date.parse(sale.starts_at) : null;
  if (opening === null || spread === 0 || now > opening + spread || !["not_yet", "open"].includes(phase)) return "";
  return (
    `So that nobody wins by having the shortest wire, this shop spreads the first requests over ${seconds(spread)}. ` +
    `Yours goes out ${seconds(yours)} after the opening.`
  );
}

export function soldOut(sale) {
  if (sale.held === 0 && sale.locked === 0) return `All ${units(sale.total)} are sold.`;
  const parts = [];
  if (sale.held) parts.push(`${units(sale.held)} held and not paid yet: what is let go, or not paid in time, comes back`);
  if (sale.next_wave) parts.push(`${units(sale.next_wave.quantity)} more at ${clockTime(Date.parse(sale.next_wave.at))}`);
  else if (sale.locked) parts.push(`${units(sale.locked)} kept for later`);
  return `${parts.join("; ")}.`;
}

function idle(sale, phase, came) {
  switch (phase) {
    case "not_yet":
      return {
        tone: "wait",
        status: "Not open yet",
        detail: "Say that you want one, and this page asks for it in the right moment.",
        first: { label: "Buy when it opens", act: "arm", pressed: false },
      };
    case "open":
      return {
        tone: "good",
        status: came === "back" ? "Units are back" : "On sale",
        detail: `A unit is held for you for ${span(sale.hold_seconds * 1000)} while you pay.`,
        first: { label: "Buy one", act: "buy" },
      };
    case "sold_out":
      return { tone: "bad", status: "Sold out right now", detail: soldOut(sale), first: { label: "Buy one", disabled: true } };
    case "paused":
      return { tone: "wait", status: "The sale is paused", detail: "It may go on; this page will tell.", first: { label: "Buy one", disabled: true } };
    default:
      return { tone: "bad", status: "The sale has ended", detail: soldOut(sale), first: { label: "Buy one", disabled: true } };
  }
}

function held(me, sale, left) {
  const ordered = me.hold.state === "ordered";
  const one = ordered ? "Your order is noted" : "One unit is held for you";
  let status = one;
  if (left !== null && left <= 10_000) status = `${one}: ten seconds left`;
  else if (left !== null && left <= 60_000) status = `${one}: less than a minute left`;
  return {
    tone: "good",
    status,
    detail: ordered ? "Units are taken when you pay, if some are left." : "Pay before the time is up, or let it go for somebody else.",
    first: { label: "Pay", act: "pay" },
    second: { label: "Let it go", act: "letGo" },
    deadline: left !== null,
    pretend: true,
  };
}

function refused(me, sale, phase) {
  const { code } = me.problem;
  const again = { label: "Try again", act: "again", disabled: phase !== "open" };
  switch (code) {
    case "sold_out":
      return { tone: "bad", status: "Sold out: somebody was faster", detail: soldOut(sale), first: again };
    case "buyer_limit":
      return {
        tone: "bad",
        status: "You have as many as one buyer may have",
        detail: `That is ${me.problem.per_buyer_limit ?? sale.per_buyer_limit}, held and bought together.`,
        first: again,
      };
    case "ended":
    case "paused":
      return idle(sale, code);
    case "not_eligible":
      return { tone: "bad", status: "This sale is not for you", detail: me.problem.detail };
    default:
      return { tone: "bad", status: me.problem.title, detail: me.problem.detail, first: again };
  }
}

export function waitingFor(me, what) {
  if (!me.waiting) return { tone: "wait", status: `${what} …`, detail: "" };
  const left = Math.max(0, me.waiting.until - performance.now());
  return {
    tone: "wait",
    status: "The shop is busy: trying again",
    detail: `In ${seconds(left)}, attempt ${me.waiting.attempt} of ${me.waiting.of}. It is the same request: you can't get it twice.`,
  };
}

// { tone, status, detail, first, second, deadline, pretend } of this moment.
export function words(me, sale, phase, now) {
  const again = { label: phase === "open" ? "Buy another" : "Sold out", act: "again", disabled: phase !== "open" };
  switch (me.step) {
    case "armed": {
      const due = me.dueAt - now;
      return {
        tone: "wait",
        status: phase === "not_yet" ? "You are in line" : "It is open: your turn comes now",
        detail: `Your request goes out in ${span(due)}. Leave the page open.`,
        first: { label: "In line: press to leave", act: "disarm", pressed: true },
      };
    }
    case "asking":
      return waitingFor(me, "Asking for your unit");
    case "paying":
      return { ...waitingFor(me, "Paying"), pretend: true };
    case "lettingGo":
      return waitingFor(me, "Letting it go");
    case "unknown":
      return {
        tone: "wait",
        status: "No answer came",
        detail: "Whether it was done is not known yet. Asking again finds out, and does nothing twice.",
        first: { label: "Ask again", act: "askAgain" },
      };
    case "held":
      return held(me, sale, me.hold.expires_at ? Date.parse(me.hold.expires_at) - now : null);
    case "paid":
      return { tone: "good", status: "Paid: it is yours", detail: `Order number ${me.hold.order_no}.`, first: sale.per_buyer_limit === 1 ? undefined : again };
    case "letGo":
      return { tone: "wait", status: "You let it go", detail: "The unit is for sale again.", first: { ...again, label: "Buy one after all" } };
    case "expired":
      return {
        tone: "bad",
        status: "The time to pay is up",
        detail: "Your unit is for sale again. A late payment gets one if some are left; if not, it is put on record to be paid back.",
        first: { label: "Try again", act: "again", disabled: phase !== "open" },
        second: { label: "Pay late", act: "pay" },
        pretend: true,
      };
    case "refundDue":
      return { tone: "bad", status: "Paid too late, and none is left", detail: "Nothing was sold to you. That your payment is due back is on record.", first: { ...again, label: "Try again" } };
    case "refused":
      return refused(me, sale, phase);
    default:
      return idle(sale, phase, me.came);
  }
}
