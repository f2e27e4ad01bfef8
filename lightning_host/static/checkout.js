// The checkout page: shows each state that the host tells, counts down, and never leaves a code standing that can't be
// paid any more. Without this script the page reloads itself every few seconds instead. Texts are set as text only:
// nothing from outside becomes markup.
"use strict";

(() => {
  const HIDDEN_FOR_MS = 60000; // then the page stops asking for fresh invoices until it is looked at again
  const ASK_AGAIN_MS = 5000; // how often to ask when there is no stream
  const SILENT_AFTER_MS = 40000; // the host gives a sign of life every 15 s
  const LOST_AFTER_MS = 5000; // a connection that is lost may be back at once
  const SOON_SECONDS = 8; // a code that comes so soon is not counted down to

  const find = (id) => document.getElementById(id);
  const root = find("checkout");
  const path = root.dataset.path;
  const inAll = Number(root.dataset.secondsInAll);
  const lnurl = root.dataset.lnurl ?? null;
  let state = null;
  let status = root.dataset.status;
  let chosen = "bolt11";
  let shown = ""; // the text of the code that stands on the page
  let endsAt = 0;
  let codeEndsAt = Infinity;
  let nextCodeAt = 0;
  let heardAt = performance.now();
  let lostAt = Infinity;
  let copiedCode = "";
  let stream = null;
  let hiddenTimer = null;
  let askTimer = null;

  const secondsUntil = (time) => Math.max(0, Math.ceil((time - performance.now()) / 1000));
  const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  const setText = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };

  function show(told) {
    const before = status;
    state = told;
    status = told.status;
    root.dataset.status = status;
    const [whole, rest] = told.amount.split(".");
    find("amount").textContent = whole;
    find("amount-rest").textContent = rest === undefined ? "" : `.${rest}`;
    find("amount").parentElement.classList.toggle("long", told.amount.length > 9);
    find("received").textContent = told.received;
    find("overpaid").hidden = told.overpaid === null;
    find("overpaid-amount").textContent = told.overpaid ?? "";
    find("late").hidden = !told.late;
    if (told.paidAt !== null) setTime(find("paid-at"), told.paidAt);
    const now = performance.now();
    endsAt = now + told.secondsLeft * 1000;
    codeEndsAt = told.codeSecondsLeft === null ? endsAt : now + told.codeSecondsLeft * 1000;
    nextCodeAt = now + (told.nextCodeSeconds ?? 0) * 1000;
    showStatus();
    tick();
    if (status !== "Settled") return;
    stopListening();
    if (before === "New") goBack();
  }

  function showStatus() {
    find("to-pay").hidden = status !== "New";
    find("paid").hidden = status !== "Settled";
    find("expired").hidden = status !== "Expired";
    if (status === "Settled") {
      setText(find("announcement"), "Paid. Thank you!");
      document.title = "✓ Paid";
    } else if (status === "Expired") {
      setText(find("announcement"), "Time is up. Please do not pay any more.");
    }
  }

  function setTime(element, iso) {
    element.dateTime = iso;
    setText(element, new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }));
  }

  // --- the code ------------------------------------------------------------------------------------------------------

  function tick() {
    if (status !== "New") return;
    const left = secondsUntil(endsAt);
    setText(find("countdown"), clock(left));
    find("progress").value = Math.min(left, inAll);
    if (left === 0) {
      status = "Expired";
      root.dataset.status = status;
      showStatus();
      return;
    }
    showCode();
  }

  function showCode() {
    const now = performance.now();
    const silent = now - heardAt > SILENT_AFTER_MS || now - lostAt > LOST_AFTER_MS;
    const alive = state.bolt11 !== null && now < codeEndsAt;
    const lasting = lnurl !== null && !silent; // who scans it needs the host
    const kind = alive && (chosen === "bolt11" || !lasting) ? "bolt11" : lasting ? "lnurl" : null;
    find("kinds").hidden = lnurl === null || !alive || !lasting;
    for (const each of ["bolt11", "lnurl"]) find(`kind-${each}`).setAttribute("aria-pressed", String(kind === each));
    if (kind === "bolt11") put(state.bolt11, state.uri, state.qr);
    else if (kind === "lnurl") put(lnurl, `lightning:${lnurl}`, `${path}/lnurl.svg`);
    find("ways").hidden = kind === null;
    find("code").classList.toggle("dead", kind === null && shown !== "");
    find("qr").hidden = shown === "";
    find("renewing").hidden = kind !== null;
    setText(find("renewing-words"), silent ? "The shop does not answer. Trying again…" : waiting());
    setText(find("note"), note(kind));
  }

  function put(text, uri, qr) {
    if (shown === text) return;
    shown = text;
    find("bolt11").value = text;
    find("open").href = uri;
    find("qr").src = qr;
  }

  function waiting() {
    const seconds = secondsUntil(nextCodeAt);
    return seconds > SOON_SECONDS ? `Next code in ${clock(seconds)}` : "Getting a fresh code…";
  }

  function note(kind) {
    if (kind === null) return "Please do not pay an older code.";
    if (kind === "lnurl") {
      const next = secondsUntil(nextCodeAt);
      const invoice = state.bolt11 === null && next > SOON_SECONDS ? ` A plain invoice follows in ${clock(next)}.` : "";
      return `Scan it with a wallet that knows LNURL: it fetches the invoice when you pay.${invoice}`;
    }
    if (state.codeSecondsLeft === null) return "";
    const copied = copiedCode === shown ? "Copied. It" : "This code";
    const left = secondsUntil(codeEndsAt);
    const time = left < 100 ? `${left}\u00a0s` : clock(left);
    return `${copied} is good for ${time}; then come back for a fresh one.`;
  }

  // --- hearing -------------------------------------------------------------------------------------------------------

  function hear(event) {
    heardAt = performance.now();
    lostAt = Infinity;
    if (event !== undefined) show(JSON.parse(event.data));
  }

  function listen() {
    if (stream !== null || status === "Settled") return;
    stream = new EventSource(`${path}/events`);
    stream.addEventListener("state", hear);
    stream.addEventListener("alive", () => hear());
    stream.addEventListener("error", () => {
      lostAt = Math.min(lostAt, performance.now());
      // A browser connects again by itself, unless the host said no: then ask now and then.
      if (stream !== null && stream.readyState === EventSource.CLOSED) {
        stream = null;
        askTimer ??= setInterval(ask, ASK_AGAIN_MS);
        ask();
      }
    });
  }

  async function ask() {
    try {
      const answer = await fetch(`${path}/state`);
      if (!answer.ok) return;
      const told = await answer.json();
      hear();
      show(told);
    } catch {
      // not reachable just now: the next time, perhaps
    }
  }

  function stopListening() {
    if (stream !== null) stream.close();
    stream = null;
    clearInterval(askTimer);
    askTimer = null;
  }

  // --- the way back --------------------------------------------------------------------------------------------------

  function goBack() {
    const back = find("back");
    let left = Number(root.dataset.returnSeconds);
    if (back === null || !left) return;
    find("returning").hidden = false;
    const step = () => {
      setText(find("returning"), `Going back to the shop in ${left} s`);
      if (left === 0) location.assign(back.href);
      left -= 1;
    };
    step();
    setInterval(step, 1000);
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiddenTimer);
    if (document.hidden) hiddenTimer = setTimeout(stopListening, HIDDEN_FOR_MS);
    else listen();
  });
  document.addEventListener("copied", () => {
    copiedCode = shown;
    setText(find("announcement"), "Code copied");
    showCode();
  });
  for (const kind of ["bolt11", "lnurl"]) {
    find(`kind-${kind}`).addEventListener("click", () => {
      chosen = kind;
      showCode();
    });
  }
  for (const each of document.querySelectorAll("time.local")) setTime(each, each.dateTime);
  find("print").hidden = false;
  find("print").addEventListener("click", () => window.print());
  show(JSON.parse(root.dataset.state));
  setInterval(tick, 250);
  listen();
})();
