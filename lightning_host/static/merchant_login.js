// A link that logs in carries its code behind the `#`: it is put into the form and taken out of the address, so that it
// stays in no history.
"use strict";

(() => {
  const code = decodeURIComponent(location.hash.slice(1));
  if (!code) return;
  history.replaceState(null, "", location.pathname);
  const field = document.getElementById("key");
  field.value = code;
  document.querySelector("#login button").focus();
})();
