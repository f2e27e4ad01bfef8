// The checkout page: shows each state that the host tells, counts down, copies the invoice. Without this script the page
// reloads itself every few seconds instead. Texts are set as text only: nothing from outside becomes markup.
"use strict";

(() => {
  const HIDDEN_FOR_MS = 60000; // then the page stops asking for fresh invoices until it is looked at again
  const ASK_AGAIN_MS = 5000; // how often to ask when there is no stream

  const find = (id) => document.getElementById(id);
  const root = find("checkout");
  const path = root.dataset.path;
  const inAll = Number(root.dataset.secondsInAll);
  let status = root.dataset.status;
  let endsAt = performance.now() + Number(root.dataset.secondsLeft) * 1000;
  let stream = null;
  let hiddenTimer = null;
  let askTimer = null;

  function announce(words) {
    if (find("announcement").textContent !== words) find("announcement").textContent = words;
  }

  function showInvoice(state) {
    const alive = state.bolt11 !== null;
    find("ways").hidden = !alive;
    find("renewing").hidden = alive;
    find("qr").hidden = !alive;
    if (!alive || find("bolt11").value === state.bolt11) return;
    find("bolt11").value = state.bolt11;
    find("open").href = state.uri;
    find("qr").src = state.qr;
    resetCopy();
  }

  function show(state) {
    status = state.status;
    root.dataset.status = status;
    const [whole, rest] = state.amount.split(".");
    find("amount").textContent = whole;
    find("amount-rest").textContent = rest === undefined ? "" : `.${rest}`;
    find("amount").parentElement.classList.toggle("long", state.amount.length > 9);
    find("received").textContent = state.received;
    find("overpaid").hidden = state.overpaid === null;
    find("overpaid-amount").textContent = state.overpaid ?? "";
    endsAt = performance.now() + state.secondsLeft * 1000;
    showInvoice(state);
    showStatus();
    if (status === "Settled") stopListening();
  }

  function showStatus() {
    find("to-pay").hidden = status !== "New";
    find("paid").hidden = status !== "Settled";
    find("expired").hidden = status !== "Expired";
    if (status === "Settled") {
      announce("Paid. Thank you!");
      document.title = "✓ Paid";
    } else if (status === "Expired") {
      announce("Time is up. Please do not pay any more.");
    }
  }

  // --- the countdown -------------------------------------------------------------------------------------------------

  function tick() {
    if (status !== "New") return;
    const left = Math.max(0, Math.ceil((endsAt - performance.now()) / 1000));
    find("countdown").textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    find("progress").value = Math.min(left, inAll);
    if (left === 0) {
      status = "Expired";
      root.dataset.status = status;
      showStatus();
    }
  }

  // --- copying -------------------------------------------------------------------------------------------------------

  const copyButton = find("copy");

  function resetCopy() {
    copyButton.textContent = "Copy";
    copyButton.classList.remove("done");
  }

  async function copy() {
    const field = find("bolt11");
    let copied = false;
    try {
      await navigator.clipboard.writeText(field.value);
      copied = true;
    } catch {
      field.select(); // where the page is not on https a browser has no clipboard for it but the old one
      copied = document.execCommand("copy");
    }
    copyButton.textContent = copied ? "Copied" : "Press Ctrl+C";
    copyButton.classList.toggle("done", copied);
    if (copied) announce("Invoice copied");
    setTimeout(resetCopy, 2500);
  }

  // --- hearing -------------------------------------------------------------------------------------------------------

  function listen() {
    if (stream !== null || status === "Settled") return;
    stream = new EventSource(`${path}/events`);
    stream.addEventListener("state", (event) => show(JSON.parse(event.data)));
    stream.addEventListener("error", () => {
      // A browser connects again by itself, unless the host said no: then ask now and then.
      if (stream !== null && stream.readyState === EventSource.CLOSED) {
        stream = null;
        askTimer ??= setInterval(ask, ASK_AGAIN_MS);
      }
    });
  }

  async function ask() {
    try {
      const answer = await fetch(`${path}/state`);
      if (answer.ok) show(await answer.json());
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

  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiddenTimer);
    if (document.hidden) hiddenTimer = setTimeout(stopListening, HIDDEN_FOR_MS);
    else listen();
  });

  copyButton.hidden = false;
  copyButton.addEventListener("click", copy);
  find("bolt11").addEventListener("focus", (event) => event.target.select());
  setInterval(tick, 250);
  tick();
  listen();
})();
