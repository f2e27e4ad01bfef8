// A flashcard's page: shows balance and history as the host tells them. Texts are set as text only.
"use strict";

(() => {
  const ASK_AGAIN_MS = 5000; // how often to ask when there is no stream

  const find = (id) => document.getElementById(id);
  const path = find("card").dataset.path;
  let stream = null;
  let askTimer = null;

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function line(entry) {
    const time = element("time", "", entry.when);
    time.dateTime = entry.time;
    const when = element("p", "faint");
    when.append(time);
    const left = element("div");
    const words = element("p", "words", entry.words);
    words.dir = "auto";
    left.append(words, when);
    const item = element("li");
    item.append(left, element("span", entry.sign === "+" ? "sum" : "sum out", `${entry.sign}${entry.amount}`));
    return item;
  }

  function show(state) {
    const [whole, rest] = state.balance.split(".");
    const before = find("balance").textContent + find("balance-rest").textContent;
    find("balance").textContent = whole;
    find("balance-rest").textContent = rest === undefined ? "" : `.${rest}`;
    find("balance").parentElement.classList.toggle("long", state.balance.length > 9);
    find("history").replaceChildren(...state.history.map(line));
    find("nothing").hidden = state.history.length > 0;
    if (before !== state.balance) find("announcement").textContent = `New balance: ${state.balance} satoshi`;
  }

  function listen() {
    if (stream !== null) return;
    stream = new EventSource(`${path}/events`);
    stream.addEventListener("state", (event) => show(JSON.parse(event.data)));
    stream.addEventListener("error", () => {
      if (stream.readyState === EventSource.CLOSED) askTimer ??= setInterval(ask, ASK_AGAIN_MS);
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

  listen();
})();
