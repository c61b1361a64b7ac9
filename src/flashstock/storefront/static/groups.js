// A sale to groups: those that can be joined, and how to open one. A seat leads to its group's page.

import { span } from "./clock.js";
import { count, saleWords } from "./group_words.js";
import { Memory, newKey } from "./memory.js";
import { lookOn, opened, part, phaseAt, renderNothing, renderSale, renderTold } from "./page.js";

const TICK_MS = 200;

const { page, buyer, clock, talk, memory, base } = opened("sale", "sale");

let sale = null;
let away = false;
let me = { step: "idle" };

function become(next) {
  me = next;
  memory.write({ step: me.step, wish: me.wish });
  render();
}

const acts = {
  open: () => take({ key: newKey(), match: false }),
  match: () => take({ key: newKey(), match: true }),
  askAgain: () => take(me.wish),
};

async function take(wish) {
  become({ step: "opening", wish });
  const answer = await talk.insist("POST", `${base}/open-group`, wish, (wait) => {
    me = { ...me, waiting: wait };
    render();
  });
  if (answer === null) become({ step: "unknown", wish });
  else if (!answer.ok) become({ step: "refused", problem: answer.body });
  else {
    const hold = answer.body;
    memory.write({});
    new Memory(buyer, hold.group).write({ hold });
    location.assign(`/demo/groups/${encodeURIComponent(hold.group)}`);
    return;
  }
  look();
}

async function look() {
  const answer = await talk.ask("GET", `${base}/groups`);
  away = !answer.decided || !answer.ok;
  if (!away) {
    sale = answer.body;
    page.removeAttribute("aria-busy");
    renderGroups();
  }
  render();
}

// Lines are kept as long as their groups are there: who is about to press one must not miss it.
function renderGroups() {
  const list = part("groups");
  const shown = new Map(Array.from(list.children, (line) => [line.dataset.group, line]));
  for (const [index, group] of sale.items.entries()) {
    const line = shown.get(group.id) ?? newLine(group);
    shown.delete(group.id);
    const told = [`${count(group.missing, "member", "members")} missing`, `${group.paid} of ${group.size} paid`];
    if (group.pending) told.push(`${group.pending} not paid yet`);
    if (group.price_minor !== null) told.push(`at ${group.price_minor.toLocaleString()}`);
    const text = told.join(" · ");
    const link = line.querySelector("a");
    if (link.textContent !== text) link.textContent = text;
    line.dataset.endsAt = group.ends_at;
    if (list.children[index] !== line) list.insertBefore(line, list.children[index] ?? null);
  }
  for (const line of shown.values()) line.remove();
  part("no-groups").hidden = sale.items.length > 0;
}

function newLine(group) {
  const line = document.createElement("li");
  line.dataset.group = group.id;
  const link = document.createElement("a");
  link.href = `/demo/groups/${encodeURIComponent(group.id)}`;
  const left = document.createElement("span");
  left.className = "left";
  line.append(link, left);
  return line;
}

function tick() {
  render();
  setTimeout(tick, TICK_MS);
}

function render() {
  if (!sale) {
    renderNothing(away);
    return;
  }
  const now = clock.now();
  const current = phaseAt(sale, now);
  renderSale(clock, sale, current);
  for (const line of part("groups").children) {
    const left = `${span(Date.parse(line.dataset.endsAt) - now)} left`;
    if (line.lastChild.textContent !== left) line.lastChild.textContent = left;
  }
  renderTold(saleWords(me, sale, current), away, acts);
}

await look();
const { step, wish } = memory.read();
// A page that is loaded again asks on under the same key.
if (wish && (step === "opening" || step === "unknown")) take(wish);
tick();
lookOn(look);
