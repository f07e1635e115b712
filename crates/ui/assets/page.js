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
for (const one of document.querySelectorAll("pre.tail")) one.scrollTop = one.scrollHeight;

// A live page is sent what changed, and takes it over. What a person opened stays open, and what has the focus keeps it; a
// page that somebody writes or selects in is left alone until that is over.
const main = document.querySelector("main[data-live]");
let source = null;
let waiting = null;
let retry = 0;

function take(html) {
  const active = main.contains(document.activeElement) ? document.activeElement : null;
  if (active && active.matches("input") || !getSelection().isCollapsed) {
    waiting = html;
    clearTimeout(retry);
    retry = setTimeout(() => { if (waiting !== null) take(waiting); }, 1000);
    return;
  }
  waiting = null;
  const sent = new DOMParser().parseFromString(html, "text/html");
  const next = sent.querySelector("main");
  if (!next) return;
  document.querySelector("footer").replaceChildren(...sent.querySelector("footer").childNodes);
  const all = (root, selector) => [...root.querySelectorAll(selector)];
  const opened = (one) => one.querySelector("summary").firstChild.textContent;
  const open = new Map(all(main, "details").map((one) => [opened(one), one.open]));
  for (const one of all(next, "details")) {
    if (open.has(opened(one))) one.open = open.get(opened(one));
  }
  const name = (one) => ["id", "href", "aria-label"].map((of) => one.getAttribute(of)).join() + (one.matches("a, summary") ? one.textContent : "");
  const alike = active && active !== main ? () => all(main, active.tagName).filter((one) => name(one) === name(active)) : null;
  const place = alike && alike().indexOf(active);
  // The end of what is being printed stays in sight, unless a person went up.
  const top = (one) => one.matches(".tail") && one.scrollTop + one.clientHeight > one.scrollHeight - 4 ? 1e6 : one.scrollTop;
  const scrolled = all(main, ".scroll, pre").map((one) => [one.scrollLeft, top(one)]);
  main.replaceChildren(...next.childNodes);
  buttons(main);
  for (const [index, one] of all(main, ".scroll, pre").entries()) one.scrollTo(...scrolled[index] ?? [0, one.matches(".tail") ? 1e6 : 0]);
  if (alike) alike()[place]?.focus({preventScroll: true});
  // It may be gone, or folded away.
  if (active && !main.contains(document.activeElement)) main.focus({preventScroll: true});
}

function watch() {
  if (document.hidden || source) return;
  source = new EventSource(main.dataset.live);
  source.addEventListener("open", () => { document.body.className = "follows"; });
  source.addEventListener("error", () => { document.body.className = "stale"; });
  source.addEventListener("page", (event) => take(event.data));
  source.addEventListener("end", (event) => { leave(); document.body.className = ""; document.removeEventListener("visibilitychange", turn); take(event.data); });
}

function leave() {
  if (source) source.close();
  source = null;
}

// Nobody asks AWS for a page that nobody looks at.
function turn() {
  if (document.hidden) leave(); else watch();
}

if (main) {
  document.addEventListener("visibilitychange", turn);
  watch();
}
