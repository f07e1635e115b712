// All of the page's script. Everything works without it: then the token is pasted, and live pages reload.
"use strict";

// The way in: the token stands behind the address's `#`, and goes away from there.
const entrance = document.getElementById("entrance");
if (entrance && location.hash.length > 1) {
  const token = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  entrance.elements.token.value = token;
  entrance.submit();
}

// What can be copied has a button.
function buttons(root) {
  for (const code of root.querySelectorAll("code.cmd")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy the command " + code.textContent);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    code.after(button);
  }
}
buttons(document);

// A live page asks for itself again, and takes over what changed. What a person opened stays open, and a page that
// somebody writes or selects in is left alone.
const main = document.querySelector("main[data-live]");
let shown = "";
async function refresh() {
  const busy = document.hidden || main.contains(document.activeElement) || !getSelection().isCollapsed;
  if (!busy) {
    try {
      const answer = await fetch(location.href, { redirect: "error" });
      const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
      document.body.classList.toggle("stale", !answer.ok);
      if (answer.ok && next && next.innerHTML !== shown) {
        const details = (root) => [...root.querySelectorAll("details")];
        const name = (one) => one.querySelector("summary").firstChild.textContent;
        const open = new Map(details(main).map((one) => [name(one), one.open]));
        shown = next.innerHTML;
        for (const one of details(next)) {
          if (open.has(name(one))) one.open = open.get(name(one));
        }
        main.replaceChildren(...next.childNodes);
        buttons(main);
        if (!next.dataset.live) return;
      }
    } catch {
      document.body.classList.add("stale");
    }
  }
  setTimeout(refresh, Number(main.dataset.live));
}
if (main) {
  setTimeout(refresh, Number(main.dataset.live));
}
