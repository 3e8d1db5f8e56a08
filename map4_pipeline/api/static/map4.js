"use strict";
// Small: every page works from its HTML; this sends changes, keeps lists fresh while one types, and lets tracks be moved.

const csrf = () => document.querySelector('meta[name="csrf"]').content;
let quiet;

function said(text) {
  const place = document.getElementById("said");
  place.textContent = text;
  clearTimeout(quiet);
  quiet = setTimeout(() => { place.textContent = ""; }, 8000);
}

// ------------------------------------------------------------------ values of a form
function typed(field) {
  const text = field.value.trim();
  switch (field.dataset.type) {
    case "number": case "integer": {
      if (text === "") return null;
      const value = Number(text.replace(",", "."));
      if (!Number.isFinite(value)) throw new Error(`${label(field)} has to be a number.`);
      return value;
    }
    case "boolean": return field.checked;
    case "lines": return field.value.split("\n").map((line) => line.trim()).filter(Boolean);
    default: return field.value;
  }
}

function label(field) {
  return field.labels && field.labels[0] ? field.labels[0].textContent.trim() : field.name;
}

function put(body, name, value) {
  const parts = name.split(".");
  const last = parts.pop();
  let place = body;
  for (const part of parts) place = place[part] ??= {};
  place[last] = value;
}

// The body that a form means, and the address with its {names} filled in.
function meant(form, address, submitter) {
  const body = JSON.parse(form.dataset.body || "{}");
  for (const field of form.elements) {
    if (!field.name || field.disabled || "skip" in field.dataset || field.type === "submit" || field.type === "button") continue;
    if (field.type === "radio" && !field.checked) continue;
    if (field.dataset.with && submitter?.value !== field.dataset.with) continue;
    if (field.dataset.type === "integers") {
      body[field.name] ??= [];
      if (field.checked) body[field.name].push(Number(field.value));
      continue;
    }
    if (field.dataset.type === "names") { // none chosen: what is meant without a choice
      body[field.name] ??= null;
      if (field.checked) (body[field.name] ??= []).push(field.value);
      continue;
    }
    if ("path" in field.dataset) { address = address.replace(`{${field.name}}`, encodeURIComponent(field.value)); continue; }
    if ("changed" in form.dataset && field.value === field.defaultValue) continue;
    const value = typed(field);
    if ("optional" in field.dataset && (value === "" || value === null)) continue;
    put(body, field.name, "changed" in form.dataset && value === "" ? null : value);
  }
  if (submitter && submitter.name) body[submitter.name] = submitter.value;
  return [body, address];
}

// What does not go with what was chosen is neither shown nor sent.
function choose(select) {
  for (const part of select.form.querySelectorAll("[data-for]")) part.hidden = !part.dataset.for.split(" ").includes(select.value);
  for (const field of select.form.elements) if (field !== select) field.disabled = Boolean(field.closest("[hidden]"));
}

for (const select of document.querySelectorAll("select[data-chooses]")) {
  select.addEventListener("change", () => choose(select));
  choose(select);
}

// ------------------------------------------------------------------ changes
async function send(method, address, body, etag) {
  const headers = { "X-CSRF-Token": csrf(), Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (etag) headers["If-Match"] = `"${etag}"`;
  let answer;
  try {
    answer = await fetch(address, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch { throw new Error("MAP4 does not answer. Nothing is known to have changed; try again."); }
  const text = await answer.text();
  const found = text ? JSON.parse(text) : {};
  if (answer.status === 401) { location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`); }
  if (!answer.ok) {
    const more = (found.conflicts || []).map((one) => one.said).concat((found.errors || []).map((one) => `${one.at}: ${one.detail}`));
    throw new Error([found.detail || `Error ${answer.status}`, ...more].join(" "));
  }
  return found;
}

async function act(element, form, submitter) {
  if (element.dataset.confirm && !confirm(element.dataset.confirm)) return;
  const alert = form ? form.querySelector('[role="alert"]') : null;
  const button = form ? submitter || form.querySelector("button") : element;
  const words = button.textContent;
  try {
    let [method, address] = element.dataset.api.split(" ");
    let body = element.dataset.body ? JSON.parse(element.dataset.body) : undefined;
    if (form === element) {
      [body, address] = meant(form, address, submitter);
      if ("changed" in form.dataset && !Object.keys(body).length) { said("Nothing was changed."); return; }
    }
    if (alert) { alert.hidden = true; alert.textContent = ""; }
    button.disabled = true;
    if (button.dataset.busy) button.textContent = button.dataset.busy;
    const found = await send(method, address, body, element.dataset.etag);
    const secret = form && element.dataset.secret && found[element.dataset.secret];
    if (secret) {
      const place = form.querySelector(".secret");
      place.textContent = `${secret} (shown this once: copy it now)`;
      place.hidden = false;
      return;
    }
    if (element.dataset.go) { location.assign(found[element.dataset.go]); return; }
    keep(element.dataset.said || "Done.");
    const onward = (element.dataset.then || "").replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(found[name]));
    if (onward) location.assign(onward); else location.reload();
  } catch (error) {
    if (alert) {
      alert.textContent = error.message;
      alert.classList.toggle("told", error.message.includes("^")); // marks the place in a query
      alert.hidden = false;
    } else { said(error.message); }
  } finally {
    button.disabled = false;
    button.textContent = words;
  }
}

// What was said survives the reload that shows the change.
function keep(text) { try { sessionStorage.setItem("said", text); } catch { /* private windows */ } }

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.api) {
    event.preventDefault();
    act(form, form, event.submitter);
  } else if (form.dataset.live) {
    event.preventDefault();
    live(form);
  }
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-api]");
  if (button) { act(button, button.closest("form")); return; }
  const move = event.target.closest("button[data-move]");
  if (move) { shift(move.closest("li"), move.dataset.move, move); return; }
  const link = event.target.closest("a[data-swap], a[data-append]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  if (link.dataset.append) append(link); else swap(link.href, link.dataset.swap, true);
});

// ------------------------------------------------------------------ lists that follow what is typed
let asked = 0;
let timer;

async function page(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  if (answer.redirected && new URL(answer.url).pathname === "/login") { location.assign(answer.url); }
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

async function swap(address, place, isLink) {
  const mine = ++asked;
  const old = document.querySelector(place);
  old.setAttribute("aria-busy", "true");
  try {
    const fresh = await page(address);
    if (mine !== asked) return; // a later letter was typed meanwhile
    const found = fresh.querySelector(place);
    if (!found) { location.assign(address); return; }
    const state = document.activeElement && old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    old.replaceChildren(...found.childNodes);
    history.replaceState(null, "", address);
    if (isLink) {
      const form = document.querySelector("form[data-live]");
      form.elements.q.value = new URL(address, location.href).searchParams.get("q") || "";
      const again = state && [...old.querySelectorAll("a")].find((one) => one.getAttribute("href") === state);
      (again || form.elements.q).focus();
    }
    const count = old.querySelector(".count, .error");
    if (count) said(count.textContent);
  } catch { said("MAP4 does not answer."); } finally { old.removeAttribute("aria-busy"); }
}

function live(form) {
  clearTimeout(timer);
  const given = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  return swap(`${form.getAttribute("action")}?${given}`, form.dataset.live);
}

for (const form of document.querySelectorAll("form[data-live]")) {
  form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => live(form), 180); });
}

async function append(link) {
  const place = document.querySelector(link.dataset.append);
  const fresh = await page(link.href);
  const rows = [...fresh.querySelectorAll(`${link.dataset.append} > *`)];
  place.append(...rows);
  const next = fresh.getElementById(link.id);
  if (next) link.href = next.getAttribute("href"); else link.remove();
  rows[0]?.querySelector("a")?.focus();
  said(`${rows.length} more.`);
}

// ------------------------------------------------------------------ an order that is dragged, or moved by keys
const order = document.querySelector("[data-order]");

function changed(text) {
  const save = document.getElementById("save-order");
  save.dataset.body = JSON.stringify({ tracks: [...order.querySelectorAll("li[data-id]")].map((item) => Number(item.dataset.id)) });
  save.disabled = false;
  if (text) said(text);
}

function shift(item, how, focus) {
  const name = item.querySelector("a").textContent;
  if (how === "out") {
    const near = item.nextElementSibling || item.previousElementSibling;
    item.remove();
    near?.querySelector("a").focus();
    changed(`${name} is taken out. Save to keep it so.`);
    return;
  }
  const other = how === "-1" ? item.previousElementSibling : item.nextElementSibling;
  if (!other) return;
  if (how === "-1") other.before(item); else other.after(item);
  focus.focus();
  changed(`${name} is at place ${[...order.children].indexOf(item) + 1}.`);
}

if (order) {
  let dragged = null;
  order.addEventListener("keydown", (event) => {
    if (!event.altKey || !["ArrowUp", "ArrowDown"].includes(event.key)) return;
    event.preventDefault();
    shift(event.target.closest("li"), event.key === "ArrowUp" ? "-1" : "1", event.target);
  });
  order.addEventListener("dragstart", (event) => {
    dragged = event.target.closest("li");
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", dragged.dataset.id);
    dragged.classList.add("dragged");
  });
  order.addEventListener("dragover", (event) => {
    const over = event.target.closest("li");
    if (!dragged || !over || over === dragged) return;
    event.preventDefault();
    const box = over.getBoundingClientRect();
    if (event.clientY < box.top + box.height / 2) over.before(dragged); else over.after(dragged);
  });
  order.addEventListener("drop", (event) => event.preventDefault());
  order.addEventListener("dragend", () => { dragged?.classList.remove("dragged"); dragged = null; changed("Moved. Save to keep the order."); });
}

// ------------------------------------------------------------------ the waveform: where the player is, and a click goes there
const wave = document.querySelector(".wave svg[data-seconds]");
const player = document.querySelector("audio[data-wave]");

if (wave && player) {
  const seconds = Number(wave.dataset.seconds);
  const head = wave.querySelector(".playhead");
  const show = (share) => { for (const end of ["x1", "x2"]) head.setAttribute(end, (1000 * share).toFixed(1)); };
  player.addEventListener("timeupdate", () => show(player.currentTime / seconds));
  wave.addEventListener("click", (event) => {
    const box = wave.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    player.currentTime = share * seconds;
    show(share);
  });
}

// ------------------------------------------------------------------ jobs that go on
async function poll() {
  const jobs = document.querySelector("[data-poll]");
  if (!jobs) return;
  if (!document.hidden) {
    try {
      const fresh = (await page(location.href)).getElementById(jobs.id);
      if (fresh) { jobs.replaceWith(fresh); if (!("poll" in fresh.dataset)) said("The export has ended."); }
    } catch { /* the next look will tell */ }
  }
  setTimeout(poll, 1000);
}
setTimeout(poll, 700);

try {
  const text = sessionStorage.getItem("said");
  if (text) { sessionStorage.removeItem("said"); setTimeout(() => said(text), 50); }
} catch { /* private windows */ }
