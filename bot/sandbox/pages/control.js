// The control page: asks for the state once a second and writes into the page what has changed.
// Elements stay as long as what they show, so that focus, opened details and scroll positions stay too.
"use strict";

const byId = (id) => document.getElementById(id);
const PERIOD_MS = 1000;
const TIMEOUT_MS = 5000;
const STOPPED = "The sandbox has stopped. This page keeps looking for it.";

let questions = Promise.resolve();
let newest = 0;
let timer;

/** Ask the server after all earlier questions. Only the newest answer counts: others tell of the time before it. */
function ask(path, wish, news) {
  const mine = ++newest;
  clearTimeout(timer);
  questions = questions.then(async () => {
    const answer = await send(path, wish);
    if (answer.error) tell(answer.error, "bad");
    else if (news) tell(news);
    else if (byId("news").textContent === STOPPED) tell("");
    if (mine !== newest) return;
    if (answer.links) show(answer);
    timer = setTimeout(refresh, wish && answer.error ? 0 : PERIOD_MS);
  });
}

async function send(path, wish) {
  const options = { signal: AbortSignal.timeout(TIMEOUT_MS) };
  if (wish) {
    options.method = "POST";
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(wish);
  }
  try {
    return await (await fetch(path, options)).json();
  } catch {
    return { error: STOPPED };
  }
}

function refresh() {
  if (!document.hidden) ask("state");
}

/** Say what happened; good news is for those only who do not see the page. */
function tell(text, kind = "unseen") {
  write(byId("news"), text);
  byId("news").className = text && kind;
}

function show(state) {
  sync(byId("links"), Object.entries(state.links), ([name]) => name, () => clone("link"), showLink);
  for (const radio of byId("moods").querySelectorAll("input")) radio.checked = radio.value === state.mood;
  byId("direct-messages").checked = state.directMessagesAreOpen;
  for (const input of document.querySelectorAll("main input")) input.disabled = false; // now it says how things stand
  byId("no-codes").hidden = state.codes.length > 0;
  sync(byId("codes"), state.codes, ({ code }) => code, createCode, showCode);
  byId("no-sign-ins").hidden = state.signIns.length > 0;
  sync(byId("sign-ins"), state.signIns, ({ id }) => id, createSignIn, showSignIn);
  showTime(state.time);
  write(byId("calls-recent"), state.calls.inTheLastMinute);
  sync(byId("calls"), state.calls.newest, ({ number }) => String(number), () => clone("call"), showCall);
  write(byId("database-error"), state.database.error ?? "");
  if (state.database.error) return;
  byId("no-audit").hidden = state.database.audit.length > 0;
  byId("audit-box").hidden = state.database.audit.length === 0;
  sync(byId("audit"), state.database.audit, ({ id }) => String(id), () => clone("entry"), showEntry);
  sync(byId("tables"), state.database.tables, ({ name }) => name, createTable, showTable);
}

function showLink(link, [name, address]) {
  write(link, `${name} ↗`);
  if (link.getAttribute("href") !== address) link.href = address;
}

function createCode({ code }) {
  const item = clone("code");
  const button = item.querySelector(".expire");
  item.querySelector(".code").title = code;
  write(item.querySelector(".code"), code.length > 8 ? `${code.slice(0, 6)}…` : code);
  button.setAttribute("aria-label", `Expire now: ${code}`);
  button.addEventListener("click", () => ask("expire", { code }, `The code ${code} has expired.`));
  return item;
}

function showCode(item, { state, secondsLeft }) {
  const button = item.querySelector(".expire");
  const isWaiting = state === "waiting";
  write(item.querySelector(".state"), isWaiting ? `${state} · ${clock(secondsLeft)} left` : state);
  item.dataset.state = state;
  if (!isWaiting) saveFocus(button);
  button.hidden = !isWaiting;
}

function createSignIn({ id, account, device }) {
  const item = clone("sign-in");
  const button = item.querySelector(".end");
  button.setAttribute("aria-label", `End: ${account}, ${device}`);
  button.addEventListener("click", () => ask("sign-out", { id }, `The sign-in of ${account} has ended.`));
  return item;
}

function showSignIn(item, { account, device }) {
  write(item.querySelector(".account"), account);
  write(item.querySelector(".device"), device);
}

function showTime({ now, passing }) {
  const ahead = Math.round((Date.parse(now) - Date.now()) / 60_000); // minutes
  const text = `It is ${instant(now, "short")}` + (ahead > 0 ? `, ${span(ahead)} ahead of your clock.` : ".");
  write(byId("time"), passing ? underWay(passing) : text);
  if (byId("spans").dataset.passing && !passing) tell(`${text} Time goes on as usual.`);
  byId("spans").dataset.passing = passing ?? "";
  for (const button of byId("spans").children) {
    if (passing) saveFocus(button);
    button.disabled = Boolean(passing);
  }
}

function showEntry(row, { at, who, did, whom, detail }) {
  write(row.querySelector(".when"), instant(at, "medium"));
  write(row.querySelector(".who"), who);
  write(row.querySelector(".did"), did);
  write(row.querySelector(".whom"), whom);
  write(row.querySelector(".detail"), detail ?? "—");
}

function showCall(row, { secondsAgo, asked, answer }) {
  write(row.querySelector(".when"), ago(secondsAgo));
  write(row.querySelector(".asked"), asked);
  write(row.querySelector(".answer"), answer ?? "none so far");
}

function createTable({ name, columns }) {
  const article = clone("table");
  write(article.querySelector("h3 code"), name);
  article.querySelector(".box").setAttribute("aria-label", name);
  for (const column of columns) {
    const head = document.createElement("th");
    head.scope = "col";
    write(head, column);
    article.querySelector("thead tr").append(head);
  }
  return article;
}

function showTable(article, { count, rows }) {
  const shown = rows.length < count ? `${rows.length} of ${count} rows` : `${count} ${count === 1 ? "row" : "rows"}`;
  write(article.querySelector(".count"), count ? shown : "empty");
  article.querySelector(".box").hidden = count === 0;
  // The first column is the primary key.
  sync(article.querySelector("tbody"), rows, ([key]) => key, () => document.createElement("tr"), showRow);
}

function showRow(row, values) {
  const cells = values.map((value, column) => ({ value, column: String(column) }));
  sync(row, cells, ({ column }) => column, () => document.createElement("td"), showCell);
}

function showCell(cell, { value }) {
  if (!value?.startsWith("plk1:")) {
    write(cell, value ?? "—");
    return;
  }
  if (!cell.querySelector("details")) cell.replaceChildren(clone("envelope"));
  write(cell.querySelector(".short"), `${value.slice(0, value.lastIndexOf(":") + 7)}…`);
  write(cell.querySelector(".length"), `${value.length} characters`);
  write(cell.querySelector(".whole"), value);
}

/** Give a parent one child for each item, in their order, without touching children that are right already. */
function sync(parent, items, keyOf, create, update) {
  const keys = new Set(items.map(keyOf));
  const known = new Map();
  for (const child of [...parent.children]) {
    if (keys.has(child.dataset.key)) {
      known.set(child.dataset.key, child);
    } else {
      saveFocus(child);
      child.remove();
    }
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    const child = known.get(keyOf(item)) ?? create(item);
    child.dataset.key = keyOf(item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
    update(child, item);
  }
}

/** Take the focus from what is about to go to its section's heading, instead of losing it. */
function saveFocus(element) {
  if (element.contains(document.activeElement)) {
    element.closest("section")?.querySelector("h2").focus({ preventScroll: true });
  }
}

function write(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

function clone(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function instant(text, timeStyle) {
  return new Date(text).toLocaleString("en", { dateStyle: "medium", timeStyle });
}

function underWay(passing) {
  return `${passing[0].toUpperCase()}${passing.slice(1)} ${passing.endsWith("s") ? "pass" : "passes"} …`;
}

/** Say a number of minutes in days, hours and minutes. */
function span(minutes) {
  const parts = [[Math.floor(minutes / 1440), "d"], [Math.floor(minutes / 60) % 24, "h"], [minutes % 60, "min"]];
  return parts.filter(([count]) => count > 0).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

function ago(seconds) {
  if (seconds < 60) return `${seconds} s ago`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min ago` : `${Math.floor(seconds / 3600)} h ago`;
}

byId("moods").addEventListener("change", ({ target }) => {
  ask("mood", { mood: target.value }, `plex.tv is ${target.value}.`);
});
byId("direct-messages").addEventListener("change", ({ target }) => {
  ask("direct-messages", { areOpen: target.checked }, `Direct messages are ${target.checked ? "open" : "closed"}.`);
});
byId("spans").addEventListener("click", ({ target }) => {
  if (target.value) ask("let-pass", { span: target.value }, underWay(target.value));
});
document.addEventListener("visibilitychange", refresh);
refresh();
