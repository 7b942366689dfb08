(() => {
"use strict";
const main = document.getElementById("main");
const net = document.getElementById("net");
const DAY = { day: "numeric", month: "short", year: "numeric" };
const FORMS = {
  clock: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  minute: { hour: "2-digit", minute: "2-digit" },
};
const two = (number) => String(number).padStart(2, "0");

// A time as the visitor's own clock shows it; the day only when that is not today.
function local(time) {
  const at = new Date(time.dateTime);
  const form = FORMS[time.dataset.as];
  if (isNaN(at)) return time.textContent;
  const day = at.toLocaleDateString([], DAY);
  if (!form) return day;
  const clock = at.toLocaleTimeString([], form);
  return day === new Date().toLocaleDateString([], DAY) ? clock : day + ", " + clock;
}

function lasted(since) {
  const seconds = Math.max(0, Math.floor((Date.now() - skew - new Date(since)) / 1000));
  return seconds < 60 ? seconds + " s" : Math.floor(seconds / 60) + ":" + two(seconds % 60) + " min";
}

// The server's clock, as far as it differs from ours.
let skew = 0;

function dress(root) {
  for (const time of root.querySelectorAll("time")) {
    const text = local(time);
    if (time.textContent !== text) time.textContent = text;
    time.title = new Date(time.dateTime).toUTCString();
  }
  for (const tick of root.querySelectorAll("[data-since]")) {
    tick.textContent = lasted(tick.dataset.since);
  }
}

dress(document);
if (!main || !main.dataset.now) return;

// Makes `old` like `fresh` and keeps every element that stays: focus, a pressed button and what
// a screen reader is at survive.
function morph(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  let place = old.firstChild;
  for (const want of [...fresh.childNodes]) {
    let found = place;
    while (found && !alike(found, want)) found = found.nextSibling;
    if (!found) {
      old.insertBefore(want, place);
      continue;
    }
    while (place !== found) {
      const gone = place;
      place = place.nextSibling;
      gone.remove();
    }
    place = found.nextSibling;
    morph(found, want);
  }
  while (place) {
    const gone = place;
    place = place.nextSibling;
    gone.remove();
  }
}

function alike(one, other) {
  return one.nodeName === other.nodeName && (one.id || "") === (other.id || "");
}

function show(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("main");
  if (!fresh) throw new Error("no page");
  dress(fresh);
  const held = document.activeElement;
  morph(main, fresh);
  if (main.dataset.title) document.title = main.dataset.title;
  if (held && held !== document.body && !held.isConnected) {
    const headline = document.getElementById("headline");
    if (headline) headline.focus();
  }
}

let tag = "";
let failures = 0;
let seen = new Date();
let busy = false;
let timer;

function reached(yes) {
  failures = yes ? 0 : failures + 1;
  if (yes) seen = new Date();
  const lost = !yes && (failures > 1 || !navigator.onLine);
  if (lost) {
    const at = seen.toLocaleTimeString([], FORMS.minute);
    net.textContent = "We cannot reach the server. Shown is the state of " + at + ".";
  }
  if (lost || yes) net.hidden = !lost;
}

async function ask() {
  const answer = await fetch(main.dataset.now, {
    headers: tag ? { "If-None-Match": tag } : {},
    cache: "no-store",
    redirect: "manual",
    signal: AbortSignal.timeout(8000),
  });
  if (answer.type === "opaqueredirect" || answer.status === 404 || answer.status === 410) {
    location.reload();
    return;
  }
  if (answer.status !== 200 && answer.status !== 304) throw new Error("status " + answer.status);
  const ahead = Date.now() - Date.parse(answer.headers.get("Date") || "");
  skew = Math.abs(ahead) > 5000 ? ahead : 0;
  if (answer.status === 200) {
    show(await answer.text());
    tag = answer.headers.get("ETag") || "";
  }
}

async function look() {
  if (busy || document.hidden) return;
  busy = true;
  clearTimeout(timer);
  try {
    await ask();
    reached(true);
  } catch {
    reached(false);
  }
  busy = false;
  const pace = main.dataset.moves ? 1500 : 5000;
  timer = setTimeout(look, failures ? Math.min(1500 * 2 ** (failures - 1), 30000) : pace);
}

for (const sign of ["online", "offline", "pageshow"]) addEventListener(sign, look);
document.addEventListener("visibilitychange", look);
setInterval(() => { if (!document.hidden) dress(main); }, 1000);
history.replaceState(null, "", location.pathname + location.search.replace(/[?&]said=[^&]*/, ""));
look();
})();
