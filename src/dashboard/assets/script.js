// Keeps the page as the agent would write it now. Without this file everything can be read and done all the same.

const home = new URL("./", import.meta.url);
let asked = false;
let asking = false;

// Makes `old` like `fresh` and leaves alone what is the same, so that focus, selection and scrolling stay, and a
// screen reader is told of additions and nothing else.
function become(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    // What a person opened stays open.
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const wanted = [...fresh.childNodes];
  wanted.forEach((node, at) => {
    const present = old.childNodes[at];
    if (!present) old.append(node);
    else if (present.nodeName === node.nodeName) become(present, node);
    else present.replaceWith(node);
  });
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

async function look() {
  asked = true;
  if (asking || document.hidden) return;
  asking = true;
  while (asked) {
    asked = false;
    try {
      const answer = await fetch(location.href, { redirect: "manual", cache: "no-store" });
      if (answer.type === "opaqueredirect") return location.reload();
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.title = page.title;
      // What an order said is written once.
      const said = document.querySelector("#said");
      if (said) page.querySelector("#said").replaceChildren(...said.cloneNode(true).childNodes);
      become(document.querySelector("main"), page.querySelector("main"));
      document.body.classList.remove("away");
    } catch {
      away();
    }
  }
  asking = false;
}

// What is shown may be out of date from here on, and says of when it is.
function away() {
  if (document.body.classList.contains("away")) return;
  document.body.classList.add("away");
  document.querySelector("#link")?.prepend("Not connected. ");
}

function follow() {
  const changes = new EventSource(new URL("changes", home));
  changes.addEventListener("change", look);
  // Also after the connection was away: something may have been missed.
  changes.addEventListener("open", look);
  changes.addEventListener("error", () => {
    away();
    // Refused, and not just away: by a proxy while the agent is down, or because the session is over.
    if (changes.readyState === EventSource.CLOSED) setTimeout(() => (look(), follow()), 5000);
  });
}

follow();
document.addEventListener("visibilitychange", look);
