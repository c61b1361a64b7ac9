// What the pages of groups say, by where a group and the visitor's seat in it are. No seconds stand in
// `status`: it is read aloud whenever it changes.

import { span } from "./clock.js";
import { soldOut, waitingFor } from "./words.js";

export const count = (number, one, many) => `${number.toLocaleString()} ${number === 1 ? one : many}`;
export const price = (minor) => `${minor.toLocaleString()} in the smallest unit of the currency`;

const missing = (group) => `${count(group.missing, "member is", "members are")} missing`;
const WHY = {
  deadline: "It was not full in time.",
  no_stock: "Too few units were left when it was to form.",
  abandoned: "Everybody left.",
};
const NOT_NOW = {
  not_yet: "The sale is not open yet.",
  paused: "The sale is paused; it may go on.",
  ended: "The sale has ended.",
};

// What is said of a wish that is under way, or whose answer did not come; null where there is none.
function underWay(me) {
  const doing = { opening: "Asking for a seat", joining: "Asking for your seat", paying: "Paying", leaving: "Leaving" }[me.step];
  if (doing) return { ...waitingFor(me, doing), pretend: me.step === "paying" };
  if (me.step !== "unknown") return null;
  return {
    tone: "wait",
    status: "No answer came",
    detail: "Whether it was done is not known yet. Asking again finds out, and does nothing twice.",
    first: { label: "Ask again", act: "askAgain" },
  };
}

function refused({ problem }) {
  const said = {
    group_full: ["Every seat is taken: somebody was faster", "A seat that is not paid in time comes free again."],
    group_over: ["The group has formed, or failed", "Open one of your own, or join another."],
    seats_limit: ["You have as many seats here as one buyer may have", ""],
    groups_limit: ["You are in as many groups as one buyer may be in", ""],
    open_limit: ["As many groups are open as may be", "Join one of them."],
    buyer_limit: ["You have as many units as one buyer may have", ""],
    sold_out: ["Sold out: no unit is left for another seat", ""],
    not_eligible: ["This group is not for you", problem.detail],
  }[problem.code];
  const [status, detail] = said ?? [problem.title, problem.detail];
  return { tone: "bad", status, detail };
}

// The page of a sale to groups.
export function saleWords(me, sale, phase) {
  const now = underWay(me);
  if (now) return now;
  const isOpen = phase === "open";
  const open = { label: "Open a group", act: "open", disabled: !isOpen };
  const join = { label: "Join any", act: "match", disabled: !isOpen };
  if (me.step === "refused") return { ...refused(me), first: open, second: join };
  if (phase === "sold_out") return { tone: "bad", status: "Sold out right now", detail: soldOut(sale), first: open, second: join };
  if (!isOpen) return { tone: "wait", status: NOT_NOW[phase], detail: "", first: open, second: join };
  return {
    tone: "good",
    status: "On sale to groups",
    detail: `A seat is kept for ${span(sale.hold_seconds * 1000)} while you pay. Joining any takes the group that is nearest to full, or opens one.`,
    first: open,
    second: join,
  };
}

function joinable(group, label) {
  const free = group.state === "open" && group.free_seats > 0 && group.phase === "open";
  return group.state === "open" ? { label, act: "join", disabled: !free } : undefined;
}

// Somebody without a seat looks at the group.
function visiting(group) {
  const join = joinable(group, "Join");
  if (group.state === "formed") return { tone: "good", status: "The group has formed", detail: "Nobody gets in any more. Open one of your own, or join another." };
  if (group.state === "failed") return { tone: "bad", status: "The group has failed", detail: `${WHY[group.reason] ?? ""} Who had paid is paid back.` };
  if (NOT_NOW[group.phase]) return { tone: "wait", status: NOT_NOW[group.phase], detail: "", first: join };
  if (group.free_seats === 0) {
    const pending = count(group.pending, "seat is", "seats are");
    return { tone: "wait", status: "Every seat is taken right now", detail: `${pending} not paid yet: one that is not paid in time comes free again.`, first: join };
  }
  if (group.phase === "sold_out") return { tone: "bad", status: "Sold out right now", detail: "No unit is left for another seat; what is not paid in time comes back.", first: join };
  return { tone: "good", status: missing(group), detail: `A seat is kept for ${span(group.hold_seconds * 1000)} while you pay.`, first: join };
}

function toPay(group, left) {
  const seat = "A seat is yours: pay it";
  let status = seat;
  if (left <= 10_000) status = `${seat}, ten seconds left`;
  else if (left <= 60_000) status = `${seat}, less than a minute left`;
  const sold = group.deduct === "form" ? "Units are taken when the group forms, if they are there then. " : "";
  return {
    tone: "good",
    status,
    detail: `${sold}If the group is not full in time, you are paid back.`,
    first: { label: "Pay", act: "pay" },
    second: { label: "Leave", act: "leave" },
    deadline: true,
    pretend: true,
  };
}

function paid(me, group) {
  if (group.state === "formed") return { tone: "good", status: "The group has formed: it is yours", detail: `Order number ${me.hold.order_no}.` };
  if (group.state === "failed") return { tone: "wait", status: "The group has failed", detail: "Looking for your refund …" };
  return {
    tone: "good",
    status: `You are in: ${missing(group)}`,
    detail: "Send the link to somebody. If the group is not full in time, you are paid back.",
    second: { label: "Leave, and be paid back", act: "leave" },
  };
}

function out(me, group) {
  const again = joinable(group, "Join again");
  switch (me.hold.state) {
    case "refunded":
      return group.state === "failed"
        ? { tone: "bad", status: "The group has failed: your payment is due back", detail: `${WHY[group.reason] ?? ""} The refund is on record.` }
        : { tone: "wait", status: "You are out: your payment is due back", detail: "The refund is on record.", first: again };
    case "expired":
      return {
        tone: "bad",
        status: "The time to pay is up",
        detail: group.state === "open" ? "Your seat is free again. A late payment gets it back if it still is; if not, it is put on record to be paid back." : "The group has ended without you.",
        first: again,
        second: group.state === "open" ? { label: "Pay late", act: "pay" } : undefined,
        pretend: group.state === "open",
      };
    case "returned":
      return { tone: "wait", status: "You gave back what you had bought", detail: "" };
    default:
      return {
        tone: "wait",
        status: group.state === "open" ? "You left the group" : "The group has ended, and you had not paid",
        detail: "Nothing was paid.",
        first: again,
      };
  }
}

// The page of a group, for whoever has a seat and whoever has none.
export function groupWords(me, group, now) {
  const wish = underWay(me);
  if (wish) return wish;
  if (me.step === "refundDue") return { tone: "bad", status: "Paid too late: your payment is due back", detail: "The refund is on record.", first: joinable(group, "Join again") };
  if (me.step === "refused") return { ...refused(me), first: joinable(group, "Try again") };
  if (!me.hold) return visiting(group);
  if (["confirmed", "paid"].includes(me.hold.state)) return paid(me, group);
  if (!["held", "ordered"].includes(me.hold.state)) return out(me, group);
  return toPay(group, Date.parse(me.hold.expires_at) - now);
}
