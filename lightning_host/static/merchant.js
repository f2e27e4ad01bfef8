// The merchant's payments: when the host tells of a new one the page is read again, and what is live in it replaced.
// Without this script a page shows what there was when it was loaded.
"use strict";

(() => {
  const live = document.getElementById("live");
  if (live === null || live.dataset.live !== "yes") return;
  const typing = () => document.activeElement?.id === "search";
  let number = null;

  async function read() {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.status === 401) location.reload();
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("live");
    if (fresh === null || typing()) return;
    for (const open of live.querySelectorAll("details[open]")) {
      const same = fresh.querySelector(`#${open.id}`);
      if (same !== null) same.open = true;
    }
    const before = live.querySelector(".payments details")?.id;
    live.replaceChildren(...fresh.childNodes);
    const newest = live.querySelector(".payments details");
    if (newest === null || newest.id === before) return;
    const sum = newest.querySelector("strong")?.textContent ?? "";
    document.getElementById("announcement").textContent = `New payment: ${sum}`;
  }

  const stream = new EventSource(document.getElementById("merchant").dataset.events);
  stream.addEventListener("state", (event) => {
    const told = JSON.parse(event.data).number;
    const changed = number === null ? told !== Number(live.dataset.number) && !location.search : told !== number;
    number = told;
    if (changed) read().catch(() => {}); // not reachable just now: the next payment brings it
  });
})();
