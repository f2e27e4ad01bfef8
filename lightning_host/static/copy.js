// Buttons that copy: each names the field it copies in data-copy. Says how it went, and tells the page by an event.
"use strict";

(() => {
  const SHOWN_MS = 2500;
  const byTouch = matchMedia("(pointer: coarse)").matches;

  async function copy(button) {
    const field = document.getElementById(button.dataset.copy);
    let copied = false;
    try {
      await navigator.clipboard.writeText(field.value);
      copied = true;
    } catch {
      field.select(); // where the page is not on https a browser has no clipboard for it but the old one
      copied = document.execCommand("copy");
    }
    button.textContent = copied ? "Copied" : byTouch ? "Hold to copy" : "Press Ctrl+C";
    button.classList.toggle("done", copied);
    if (copied) button.dispatchEvent(new CustomEvent("copied", { bubbles: true }));
    setTimeout(() => {
      button.textContent = "Copy";
      button.classList.remove("done");
    }, SHOWN_MS);
  }

  for (const button of document.querySelectorAll("button[data-copy]")) {
    const field = document.getElementById(button.dataset.copy);
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
    field.addEventListener("focus", () => field.select());
  }
})();
