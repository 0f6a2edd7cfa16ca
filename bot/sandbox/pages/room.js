// What simcord's preview lacks as a conversation: countdowns that tick, a hint, links that stay in the room, an end
// that stays in sight, patience with somebody quick, and a word when the connection is lost.

const UNITS = [["second", 1, 60], ["minute", 60, 3600], ["hour", 3600, 86400], ["day", 86400, Infinity]];
const BUTTONS = "button.component-button, .send-message";
const COMPOSER = "#channel-composer";
const relative = new Intl.RelativeTimeFormat("en-US", { numeric: "auto" });

// The sandbox's time is ahead of ours by what the control page let pass.
function now() {
  const { publication, profile } = window.simcordPreview;
  return Date.now() + (Date.parse(profile.presentationTime) - Date.parse(publication?.publishedAt) || 0);
}

function countdown(instant, present) {
  const seconds = Math.round((instant - present) / 1000);
  const [unit, size] = UNITS.find(([, , end]) => Math.abs(seconds) < end);
  return relative.format(Math.round(seconds / size), unit);
}

// Only relative times tick; every other style of Discord's names a year or a clock time.
function tick() {
  const present = now();
  for (const time of document.querySelectorAll("time.discord-timestamp")) {
    if (/\d{4}|\d:\d\d/.test(time.textContent)) continue;
    const text = countdown(Date.parse(time.dateTime), present);
    if (time.textContent !== text) time.textContent = text;
  }
}

// simcord lists every message once more, unseen, in a picker of its own.
function drawnMessage(id) {
  return document.querySelector(`#channel-message-list [data-message-id="${id}"]`);
}

// "Go to the message" leads to Discord itself, where this message is not. What was sent to the member while they looked
// at the server's channel is in their conversation, a page of its own with the same key.
function stay(event) {
  const link = event.target.closest?.('a[href^="https://discord.com/channels/"]');
  if (!link) return;
  event.preventDefault();
  const { conversation } = document.body.dataset;
  const message = drawnMessage(link.href.split("/").pop());
  if (message) message.scrollIntoView({ behavior: "smooth", block: "start" });
  else if (conversation) window.open(`//${location.hostname}:${conversation}/${location.hash}`, "_blank", "noopener");
}

// Whoever is at the conversation's end stays there, whatever comes or grows; who sends goes there. simcord wants the
// same, but loses its place where two changes come shortly after another: it may no longer scroll.
const timeline = document.getElementById("channel-timeline");
const messages = document.getElementById("channel-message-list");
const position = Object.getOwnPropertyDescriptor(Element.prototype, "scrollTop");
let isAtEnd = true;
let extent = "";

function extentNow() {
  return `${timeline.scrollHeight} ${timeline.clientHeight}`;
}

function goToEnd() {
  isAtEnd = true;
  timeline.scrollTo(0, timeline.scrollHeight);
}

function onResize() {
  if (isAtEnd) goToEnd();
  extent = extentNow();
}

// A change of size scrolls too; only where there was none, it was the reader.
function onScroll() {
  if (extent === extentNow()) isAtEnd = timeline.scrollHeight - timeline.scrollTop - timeline.clientHeight < 2;
}

function onSend({ key, target }) {
  if (key === "Enter" || target.closest(".send-message")) goToEnd();
}

Object.defineProperty(timeline, "scrollTop", { get: () => position.get.call(timeline), set() {} });
timeline.addEventListener("scroll", onScroll, { passive: true });
document.getElementById("new-messages").addEventListener("click", goToEnd);
for (const type of ["click", "keydown"]) document.querySelector(COMPOSER).addEventListener(type, onSend);
const sizes = new ResizeObserver(onResize);
for (const element of [timeline, messages]) sizes.observe(element);

// simcord drops what one does while it is busy with the action before: do it when it is not, if it can still be done.
let turn = Promise.resolve();

function isBusy() {
  const { pendingAction, awaitingRevision, publishedRevision } = window.simcordPreview;
  return Boolean(pendingAction) || (awaitingRevision ?? 0) > publishedRevision;
}

async function untilIdle() {
  while (isBusy()) await new Promise((resolve) => setTimeout(resolve, 50));
}

function isPicking() {
  return document.querySelector(".command-popup:not([hidden])") !== null;
}

// Return how to do it later: press the button of this name in this place, which may have been drawn anew, or send.
function intention({ type, key, target }) {
  const button = type === "click" && target.closest?.(BUTTONS);
  const place = button && button.closest("[data-message-id], form");
  if (place) {
    const id = place.dataset.messageId;
    return () => {
      const drawn = id ? drawnMessage(id) : place;
      [...(drawn?.querySelectorAll(BUTTONS) ?? [])].find((each) => each.textContent === button.textContent)?.click();
    };
  }
  const isSending = type === "keydown" && key === "Enter" && target.closest?.(COMPOSER) && !isPicking();
  return isSending ? () => document.querySelector(COMPOSER).requestSubmit() : null;
}

function postpone(event) {
  const act = event.isTrusted && isBusy() ? intention(event) : null;
  if (!act) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  turn = turn.then(untilIdle).then(act);
}

// A page that simcord has given up (an answer was lost, a laptop has slept) is fine again after a reload.
const notice = document.body.appendChild(document.createElement("p"));
notice.id = "room-notice";
notice.setAttribute("role", "status");
let isAway = false;

async function watch() {
  const { contextId, transport, authorized } = window.simcordPreview;
  const hasGivenUp = transport.state === "uncertain" || (contextId && !authorized);
  if (!hasGivenUp && transport.state !== "error" && !isAway) return;
  isAway = !(await fetch("/icon.svg", { cache: "no-store" }).then((answer) => answer.ok, () => false));
  notice.textContent = isAway ? "The sandbox does not answer. This page keeps looking for it." : "";
  if (hasGivenUp && !isAway) window.location.reload();
}

// The page beside this one has the same key, and is reached by whatever name this one was.
const beside = document.getElementById("beside");
if (beside) {
  beside.hostname = location.hostname;
  beside.hash = location.hash;
}

document.getElementById("channel-empty").textContent = document.body.dataset.hint;
document.querySelector(".channel-header").append(document.querySelector(".viewer-control"));
document.addEventListener("click", stay);
for (const type of ["click", "keydown"]) document.addEventListener(type, postpone, { capture: true });
setInterval(tick, 250);
setInterval(watch, 1000);
