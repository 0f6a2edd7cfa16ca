// The pages on which a code is approved: one shell, a view for each state.
// Names and codes are strangers' text; they only ever become textContent.
"use strict";

const byId = (id) => document.getElementById(id);
const page = location.pathname.match(/\/(link|auth)$/)?.[1];
const TIMEOUT_MS = 10_000;

let question = {}; // what the server is asked about: page, code, and on "auth" who made the code
let countdown;

class Refusal extends Error {
  constructor(error) {
    super(error.message);
    this.code = error.code;
  }
}

class NoAnswer extends Error {}

/** Ask the server; throw Refusal if it says no, NoAnswer if it says nothing that makes sense. */
async function ask(path, members) {
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(members),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (response.status === 204) return null;
    const answer = await response.json();
    if (response.ok) return answer;
    throw new Refusal(answer.errors[0]);
  } catch (error) {
    throw error instanceof Refusal ? error : new NoAnswer();
  }
}

/** Show one view and take the focus there, so that it is read out. */
function show(id, focus) {
  clearInterval(countdown);
  for (const section of document.querySelectorAll("section")) section.hidden = section.id !== id;
  const heading = document.querySelector(`#${id} h1`);
  document.title = `${heading.textContent} · stand-in of plex.tv`;
  (focus ?? heading).focus();
}

function askForCode(error = "") {
  const field = byId("pin");
  if (question.code) field.value = question.code;
  field.setAttribute("aria-invalid", String(error !== ""));
  show("ask", field);
  byId("ask-error").textContent = error;
  field.select();
}

function refuse(error) {
  if (!(error instanceof Refusal)) return showNoAnswer();
  const isGone = error.code === 1020;
  if (page === "link") {
    return askForCode(`${error.message}.${isGone ? " Check the card in Discord, or ask there for a new code." : ""}`);
  }
  byId("refusal").textContent = error.message;
  byId("refusal-hint").textContent = isGone
    ? "Go back to Discord and ask for a new code."
    : "Use the button on the card in Discord: this page takes long codes only, with all that belongs to them.";
  show("refused");
}

function showNoAnswer(wasApproving = false) {
  byId("unreachable-hint").textContent = wasApproving
    ? "The code may or may not be approved: Discord shows it. Is the sandbox still running?"
    : "Nothing was approved. Is the sandbox still running?";
  show("unreachable");
}

function showAccounts(accounts) {
  const rows = accounts.map(({ key, name, about }, index) => {
    const row = byId("account").content.cloneNode(true);
    Object.assign(row.querySelector("input"), { value: key, checked: index === 0 });
    row.querySelector(".name").textContent = name;
    row.querySelector(".about").textContent = about;
    return row;
  });
  byId("accounts").replaceChildren(...rows);
}

function countDown(seconds) {
  const endsAt = Date.now() + seconds * 1000;
  const tick = () => {
    const left = Math.max(0, Math.ceil((endsAt - Date.now()) / 1000));
    byId("left").textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    if (left === 0) refuse(new Refusal({ code: 1020, message: "The code ran out" }));
  };
  countdown = setInterval(tick, 500);
  tick();
}

/** Look the code up and show who asks. */
async function showConsent() {
  try {
    const answer = await ask("page/code", question);
    question.code = answer.code;
    byId("product").textContent = answer.product;
    byId("device").textContent = answer.deviceName || "has no name";
    byId("code").textContent = answer.code;
    byId("code").classList.toggle("short", page === "link");
    byId("compare").hidden = page !== "link"; // Discord shows no long code
    showAccounts(answer.accounts);
    show("consent");
    countDown(answer.expiresIn);
  } catch (error) {
    refuse(error);
  }
}

async function approve() {
  const button = byId("approve");
  button.disabled = true;
  try {
    await ask("page/approve", { ...question, account: new FormData(byId("consent-form")).get("account") });
    show("done");
  } catch (error) {
    if (error instanceof NoAnswer) showNoAnswer(true);
    else refuse(error);
  } finally {
    button.disabled = false;
  }
}

/** Begin with what the address says. */
function open() {
  if (!page) return show("home");
  // The auth page's parameters are in the fragment, "#?" or "#!?": they never reach the server by themselves.
  const given = new URLSearchParams(page === "link" ? location.search : location.hash.replace(/^#!?\??/, ""));
  question = {
    page,
    code: given.get(page === "link" ? "pin" : "code") ?? "",
    clientID: given.get("clientID") ?? "",
    product: given.get("context[device][product]") ?? "",
  };
  return page === "link" && !question.code.trim() ? askForCode() : showConsent();
}

function onSubmit(id, act) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    act();
  });
}

onSubmit("consent-form", approve);
onSubmit("ask-form", () => {
  question.code = byId("pin").value;
  history.replaceState(null, "", `?${new URLSearchParams({ pin: question.code })}`);
  showConsent();
});
byId("leave").addEventListener("click", () => show("left-alone"));
for (const button of document.querySelectorAll(".again")) button.addEventListener("click", showConsent);
addEventListener("hashchange", open);
open();
