// Polls the daemon, updates the page in place and sends changes. Without it the page can still be read.
"use strict";

const POLL_INTERVAL = 2000; // milliseconds
const MAX_POLL_INTERVAL = 30000; // while the daemon does not respond
const TIMEOUT = 10000;
const TOAST_DURATION = 12000; // longer while the toast has the focus or the mouse

const page = document.body.dataset;
const language = document.documentElement.lang;
// American and British English write times differently: the browser knows the reader's variant.
const locale = navigator.language.startsWith(language) ? navigator.language : language;
const clock = { hour: "2-digit", minute: "2-digit" };
const date = { day: "numeric", month: "short", ...clock };
const hour = { hour: "numeric" };
const formats = new Map();

// Creating a DateTimeFormat takes milliseconds, so each one is created once, on first use.
function formatted(at, options) {
  if (!formats.has(options)) formats.set(options, new Intl.DateTimeFormat(locale, options));
  return formats.get(options).format(at);
}

// Times are shown in the reader's time zone, which the server does not know.
function localise(root) {
  const today = new Date().toDateString();
  for (const time of root.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    time.textContent = formatted(at, at.toDateString() === today ? clock : date);
  }
  for (const text of root.querySelectorAll("text[data-at]")) {
    text.textContent = formatted(text.dataset.at * 1000, hour);
  }
}

// Turns one node into another and changes only what differs, so that the focus, open details and a
// screen reader's position are kept. Elements with a data-key are matched by it.
function morph(current, target) {
  if (current.nodeType !== target.nodeType || current.nodeName !== target.nodeName) {
    current.replaceWith(target);
    return;
  }
  if (current.nodeType !== Node.ELEMENT_NODE) {
    if (current.nodeValue !== target.nodeValue) current.nodeValue = target.nodeValue;
    return;
  }
  for (const { name } of [...current.attributes]) {
    const isOpen = name === "open" && current.nodeName === "DETAILS";
    if (!target.hasAttribute(name) && name !== "title" && !isOpen) current.removeAttribute(name);
  }
  for (const { name, value } of target.attributes) {
    if (current.getAttribute(name) !== value) current.setAttribute(name, value);
  }
  const key = (node) => node.dataset?.key;
  const keyed = new Map([...current.children].filter(key).map((child) => [key(child), child]));
  let at = current.firstChild;
  for (const child of [...target.childNodes]) {
    const match = key(child) ? keyed.get(key(child)) : at && !key(at) ? at : undefined;
    if (!match) {
      current.insertBefore(child, at);
      continue;
    }
    while (at && at !== match && !key(at)) {
      const removed = at;
      at = at.nextSibling;
      removed.remove();
    }
    if (match !== at) current.insertBefore(match, at);
    else at = at.nextSibling;
    morph(match, child);
  }
  while (at) {
    const removed = at;
    at = at.nextSibling;
    removed.remove();
  }
}

// Polling

let interval = POLL_INTERVAL;
let timer = 0;
let etag = "";
let polls = 0;

async function poll() {
  clearTimeout(timer);
  const number = ++polls;
  try {
    const headers = etag ? { "If-None-Match": etag } : {};
    const response = await fetch(page.pollUrl, { headers, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) });
    if (response.status !== 304 && !response.ok) throw new Error(response.status);
    const html = response.status === 304 ? "" : await response.text();
    if (number !== polls) return; // a later poll has started
    if (html) update(html, response.headers.get("ETag"));
    showOffline(false);
    interval = POLL_INTERVAL;
  } catch {
    if (number !== polls) return;
    showOffline(true);
    interval = Math.min(interval * 2, MAX_POLL_INTERVAL);
  }
  if (!document.hidden) timer = setTimeout(poll, interval);
}

function update(html, newEtag) {
  const target = new DOMParser().parseFromString(html, "text/html").getElementById("live");
  const current = document.getElementById("live");
  if (!target) throw new Error("the response is not from the daemon");
  if (target.dataset.version !== current.dataset.version) {
    location.reload(); // the daemon was updated
    return;
  }
  etag = newEtag ?? "";
  localise(target);
  const previous = current.dataset.announcement;
  morph(current, target);
  announce(previous);
}

function announce(previous) {
  const { title, announcement } = document.getElementById("live").dataset;
  document.title = `${title} – ${page.shortTitle}`;
  if (previous !== undefined && previous !== announcement) {
    document.getElementById("announcement").textContent = announcement;
  }
}

function showOffline(isOffline) {
  const notice = document.getElementById("offline");
  if (notice.hidden !== isOffline) return;
  notice.hidden = !isOffline;
  notice.textContent = isOffline ? page.offlineText : "";
}

// Changes

let lastChange = Promise.resolve();

// One at a time: concurrent requests could overtake each other, and the user's last change must win.
function submit(change, button) {
  lastChange = lastChange.then(() => send(change, button));
}

async function send(change, button) {
  button?.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(page.changeUrl, {
      method: "POST",
      headers: { "Content-Type": "application/json", [page.csrfHeader]: "page" },
      body: JSON.stringify(change),
      signal: AbortSignal.timeout(TIMEOUT),
    });
    const { message, undo, error } = await response.json();
    showToast(message ?? error, undo);
  } catch {
    showToast(page.failedText);
  }
  button?.removeAttribute("aria-busy");
  etag = ""; // get the page in full: the click itself may have changed it
  setTimeout(poll, 150);
}

let toastTimer = 0;

function showToast(text, undo) {
  const toast = document.getElementById("toast");
  const line = document.createElement("p");
  line.textContent = text;
  const buttons = document.getElementById("toast-buttons").content.cloneNode(true);
  const undoButton = buttons.querySelector("[data-role=undo]");
  if (undo) undoButton.onclick = () => submit(undo, undoButton);
  else undoButton.remove();
  buttons.querySelector("[data-role=close]").onclick = () => toast.replaceChildren();
  toast.replaceChildren(line, buttons);
  hideLater(toast);
}

function hideLater(toast) {
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => {
    if (toast.matches(":hover, :focus-within")) hideLater(toast);
    else toast.replaceChildren();
  }, TOAST_DURATION);
}

function changeOf(button) {
  const { mode, override, step, change } = button.dataset;
  if (mode) return { mode };
  if (override) return { queue: button.closest("[data-key]").dataset.key, override };
  if (change) return JSON.parse(change);
  return step ? limitAfter(Number(step)) : undefined;
}

// Shows the new limit at once, so that two quick clicks make two steps.
function limitAfter(step) {
  const output = document.querySelector("output");
  const limit = Number(output.dataset.value) + step;
  output.dataset.value = limit;
  output.textContent = new Intl.NumberFormat(locale).format(limit);
  for (const button of document.querySelectorAll("[data-step]")) {
    const next = limit + Number(button.dataset.step);
    button.setAttribute("aria-disabled", next < 1 || next > Number(output.dataset.max));
  }
  return { limit };
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("main button");
  if (!button || button.getAttribute("aria-disabled") === "true") return;
  const change = changeOf(button);
  if (change) submit(change, button);
});

// Tooltips: the label of a button that shows only an icon, the queue and the times of a bar.
document.addEventListener("mouseover", ({ target }) => {
  const button = target.closest("main button:not([title])");
  if (button) button.title = button.ariaLabel ?? button.textContent;
  if (target.matches(".slots rect:empty")) {
    const begin = Number(target.closest(".chart").dataset.begin);
    const [x, width] = ["x", "width"].map((name) => parseFloat(target.getAttribute(name)));
    const [from, to] = [x, x + width].map((percent) => formatted((begin + percent * 864) * 1000, clock));
    const title = document.createElementNS(target.namespaceURI, "title");
    title.textContent = `${target.closest(".lane").innerText.trim()}: ${from} – ${to}`;
    target.append(title);
  }
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else poll();
});

localise(document);
timer = setTimeout(poll, POLL_INTERVAL);
