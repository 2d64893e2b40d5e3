// Keeps the page fresh and sends what a person asks for. Without it the page can be read all the same.
"use strict";

const EVERY = 2000; // milliseconds between two looks at the daemon
const LONGEST = 30000; // the same, while it does not answer
const PATIENCE = 10000; // for an answer
const SHOWN = 12000; // for which a message stays, unless somebody is at it

const page = document.body.dataset;
const language = document.documentElement.lang;
// American and British English write times differently: the browser knows which of them it is.
const locale = navigator.language.startsWith(language) ? navigator.language : language;
const clock = { hour: "2-digit", minute: "2-digit" };
const date = { day: "numeric", month: "short", ...clock };
const hour = { hour: "numeric" };
const formats = new Map();

// A format takes milliseconds to be made: it is made once, when it is needed.
function written(at, options) {
  if (!formats.has(options)) formats.set(options, new Intl.DateTimeFormat(locale, options));
  return formats.get(options).format(at);
}

// Times as the reader's own clock shows them: the server does not know the zone.
function localise(root) {
  const today = new Date().toDateString();
  for (const time of root.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    time.textContent = written(at, at.toDateString() === today ? clock : date);
  }
  for (const text of root.querySelectorAll("text[data-at]")) {
    text.textContent = written(text.dataset.at * 1000, hour);
  }
}

// Changes what is there into what should be, and nothing else: what has the focus keeps it, and
// what is open stays open. Things in a list are known by their key.
function morph(is, should) {
  if (is.nodeType !== should.nodeType || is.nodeName !== should.nodeName) {
    is.replaceWith(should);
    return;
  }
  if (is.nodeType !== Node.ELEMENT_NODE) {
    if (is.nodeValue !== should.nodeValue) is.nodeValue = should.nodeValue;
    return;
  }
  for (const { name } of [...is.attributes]) {
    if (!should.hasAttribute(name) && name !== "title" && !(name === "open" && is.nodeName === "DETAILS")) is.removeAttribute(name);
  }
  for (const { name, value } of should.attributes) {
    if (is.getAttribute(name) !== value) is.setAttribute(name, value);
  }
  const key = (node) => node.dataset?.key;
  const known = new Map([...is.children].filter(key).map((child) => [key(child), child]));
  let at = is.firstChild;
  for (const wanted of [...should.childNodes]) {
    const found = key(wanted) ? known.get(key(wanted)) : at && !key(at) ? at : undefined;
    if (!found) {
      is.insertBefore(wanted, at);
      continue;
    }
    while (at && at !== found && !key(at)) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
    if (found !== at) is.insertBefore(found, at);
    else at = at.nextSibling;
    morph(found, wanted);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

// Looking

let wait = EVERY;
let timer = 0;
let tag = "";
let looks = 0;

async function look() {
  clearTimeout(timer);
  const mine = ++looks;
  try {
    const headers = tag ? { "If-None-Match": tag } : {};
    const answer = await fetch(page.now, { headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (answer.status !== 304 && !answer.ok) throw new Error(answer.status);
    const text = answer.status === 304 ? "" : await answer.text();
    if (mine !== looks) return; // a later look is under way
    if (text) show(text, answer.headers.get("ETag"));
    lost(false);
    wait = EVERY;
  } catch {
    if (mine !== looks) return;
    lost(true);
    wait = Math.min(wait * 2, LONGEST);
  }
  if (!document.hidden) timer = setTimeout(look, wait);
}

function show(text, newTag) {
  const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("live");
  const here = document.getElementById("live");
  if (!fresh) throw new Error("this is not the daemon");
  if (fresh.dataset.version !== here.dataset.version) {
    location.reload(); // the daemon was updated
    return;
  }
  tag = newTag ?? "";
  localise(fresh);
  const was = here.dataset.spoken;
  morph(here, fresh);
  announce(was);
}

function announce(was) {
  const { title, spoken } = document.getElementById("live").dataset;
  document.title = `${title} – ${page.short}`;
  if (was !== undefined && was !== spoken) document.getElementById("spoken").textContent = spoken;
}

function lost(isLost) {
  const box = document.getElementById("lost");
  if (box.hidden !== isLost) return;
  box.hidden = !isLost;
  box.textContent = isLost ? page.lost : "";
}

// Asking

let asked = Promise.resolve();

// One after the other: two at once could overtake each other, and what was asked for last must hold.
function ask(change, button) {
  asked = asked.then(() => send(change, button));
}

async function send(change, button) {
  button?.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(page.ask, {
      method: "POST",
      headers: { "Content-Type": "application/json", [page.header]: "page" },
      body: JSON.stringify(change),
      signal: AbortSignal.timeout(PATIENCE),
    });
    const { says, undo, error } = await answer.json();
    say(says ?? error, undo);
  } catch {
    say(page.failed);
  }
  button?.removeAttribute("aria-busy");
  tag = ""; // what a click changed by itself is put right in any case
  setTimeout(look, 150);
}

let hiding = 0;

function say(text, undo) {
  const toast = document.getElementById("toast");
  const line = document.createElement("p");
  line.textContent = text;
  const parts = document.getElementById("toast-parts").content.cloneNode(true);
  const button = parts.querySelector("[data-role=undo]");
  if (undo) button.onclick = () => ask(undo, button);
  else button.remove();
  parts.querySelector("[data-role=close]").onclick = () => toast.replaceChildren();
  toast.replaceChildren(line, parts);
  hide(toast);
}

function hide(toast) {
  clearTimeout(hiding);
  hiding = setTimeout(() => {
    if (toast.matches(":hover, :focus-within")) hide(toast);
    else toast.replaceChildren();
  }, SHOWN);
}

function wanted(button) {
  const { mode, override, step, ask: whole } = button.dataset;
  if (mode) return { mode };
  if (override) return { queue: button.closest("[data-key]").dataset.key, override };
  if (whole) return JSON.parse(whole);
  return step ? stepped(Number(step)) : undefined;
}

// Shows the new limit at once, so that two quick clicks make two steps.
function stepped(step) {
  const output = document.querySelector("output");
  const limit = Number(output.dataset.value) + step;
  output.dataset.value = limit;
  output.textContent = new Intl.NumberFormat(locale).format(limit);
  for (const button of document.querySelectorAll("[data-step]")) {
    const next = limit + Number(button.dataset.step);
    button.setAttribute("aria-disabled", next < 1 || next > Number(output.dataset.most));
  }
  return { limit };
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("main button");
  if (!button || button.getAttribute("aria-disabled") === "true") return;
  const change = wanted(button);
  if (change) ask(change, button);
});

// What is a picture only tells a mouse more: a button its word, a bar its queue and its time.
document.addEventListener("mouseover", ({ target }) => {
  const button = target.closest("main button:not([title])");
  if (button) button.title = button.ariaLabel ?? button.textContent;
  if (target.matches(".slots rect:empty")) {
    const begin = Number(target.closest(".picture").dataset.begin);
    const [x, width] = ["x", "width"].map((name) => parseFloat(target.getAttribute(name)));
    const [from, to] = [x, x + width].map((share) => written((begin + share * 864) * 1000, clock));
    const title = document.createElementNS(target.namespaceURI, "title");
    title.textContent = `${target.closest(".lane").innerText.trim()}: ${from} – ${to}`;
    target.append(title);
  }
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else look();
});

localise(document);
timer = setTimeout(look, EVERY);
