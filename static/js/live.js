// Keeps a live page's place: where to go on after a lost connection, and word of it above the page.
(() => {
  const place = { after: null };
  const PREFIX = /^<!--(\{.*?\})-->/;

  const shownOutput = () => {
    const log = document.getElementById("log");
    if (!log || log.hasAttribute("data-still")) return { attempt: "", line: 0 };
    const last = log.querySelector("li[id^='L']:last-of-type");
    return { attempt: log.dataset.attempt || "", line: last ? Number(last.id.slice(1)) : 0 };
  };

  // The extension connects again with the address of the first paint; what was shown since is added here.
  htmx.createWebSocket = (address) => {
    const url = new URL(address);
    if (place.after) url.searchParams.set("after", place.after);
    if (url.searchParams.get("view") === "run") {
      const { attempt, line } = shownOutput();
      url.searchParams.set("attempt", attempt);
      url.searchParams.set("line", line);
      const here = new URLSearchParams(location.search);
      if (here.get("step")) url.searchParams.set("step", here.get("step"));
      if (here.get("try") || here.get("line")) url.searchParams.set("pinned", "1");
    }
    return new WebSocket(url);
  };

  const banner = (tone, strong, text, link) => {
    let holder = document.getElementById("connection");
    if (!holder) {
      holder = document.createElement("div");
      holder.id = "connection";
      holder.setAttribute("role", "status");
      document.querySelector(".page-in")?.prepend(holder);
    }
    holder.replaceChildren();
    if (!strong) return;
    const box = document.createElement("div");
    box.className = "banner";
    box.dataset.tone = tone;
    const words = document.createElement("span");
    const first = document.createElement("strong");
    first.textContent = strong;
    words.append(first, ` ${text}`);
    box.append(words);
    if (link) {
      const again = document.createElement("a");
      again.className = "btn small push";
      again.href = location.href;
      again.textContent = link;
      box.append(again);
    }
    holder.append(box);
  };

  let lostAt = null;
  document.addEventListener("htmx:wsClose", (event) => {
    const code = event.detail.event.code;
    document.querySelectorAll(".live").forEach((mark) => { mark.hidden = true; });
    if (code === 4401) banner("warn", "You are signed out.", "What you see is as it was then.", "Sign in again");
    else if (code === 4403) banner("warn", "You may not follow this any more.", "What you see is as it was then.");
    else if (code >= 4400 && code < 4500) banner("warn", "This page is not live any more.", "Load it again to follow.", "Load it again");
    else {
      lostAt = lostAt || new Date();
      const since = lostAt.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
      banner("warn", "Reconnecting.", `The connection was lost at ${since}. Nothing stops because of it; this page tries again by itself.`);
      // The extension connects again after a crash; a server that said goodbye or was in trouble is worth another try as well.
      if ([1000, 1001, 1005, 4500, 4503].includes(code)) setTimeout(() => event.detail.socketWrapper.reconnect(), 1000 + 3000 * Math.random());
    }
  });
  document.addEventListener("htmx:wsOpen", () => {
    document.querySelectorAll(".live").forEach((mark) => { mark.hidden = false; });
    if (!lostAt) return;
    lostAt = null;
    banner("ok", "Connected again.", "What happened meanwhile is shown below.");
    setTimeout(() => { if (!lostAt) banner(); }, 6000);
  });

  let focused = null;
  document.addEventListener("htmx:wsBeforeMessage", () => {
    const active = document.activeElement;
    focused = active?.id ? `#${CSS.escape(active.id)}` : active?.getAttribute?.("href") ? `a[href="${CSS.escape(active.getAttribute("href"))}"]` : null;
  });
  // What someone types in, or reads in an open sheet, is not replaced under their hands.
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const target = event.detail.target;
    if (target.querySelector("input:focus, textarea:focus, select:focus, :popover-open")) event.detail.shouldSwap = false;
  });

  // A graph that is wider than the page follows the work, until its reader moves it.
  let held = null;
  const bringWorkIntoSight = () => {
    const graph = document.querySelector(".graph");
    if (!graph || graph.scrollWidth <= graph.clientWidth) return;
    if (held !== null) { graph.scrollLeft = held; return; }
    const node = graph.querySelector(".node[data-tone='run']") || graph.querySelector(".node[data-tone='bad'], .node[data-tone='warn']");
    if (node) graph.scrollLeft += node.getBoundingClientRect().left - graph.getBoundingClientRect().left - graph.clientWidth / 3;
  };
  for (const kind of ["wheel", "pointerdown", "keydown", "focusin"]) {
    document.addEventListener(kind, (event) => {
      const graph = event.target.closest?.(".graph");
      if (graph) held = graph.scrollLeft;
    }, { passive: true });
  }
  document.addEventListener("scroll", (event) => {
    if (held !== null && event.target.classList?.contains("graph")) held = event.target.scrollLeft;
  }, { passive: true, capture: true });
  document.addEventListener("htmx:oobAfterSwap", (event) => { if (event.detail.target?.id === "graph") bringWorkIntoSight(); });
  bringWorkIntoSight();

  const loadOutput = async (socket) => {
    await htmx.ajax("GET", location.pathname + location.search, { target: "#output", select: "#output", swap: "outerHTML" });
    document.dispatchEvent(new Event("chiffon:log"));
    const { attempt, line } = shownOutput();
    socket.send(JSON.stringify({ attempt, line }));
  };
  let loading = false;
  document.addEventListener("htmx:wsAfterMessage", (event) => {
    const found = PREFIX.exec(event.detail.message);
    if (!found) return;
    const said = JSON.parse(found[1]);
    if (said.after) place.after = said.after;
    event.detail.socketWrapper.send(JSON.stringify({ ack: said.n }));
    if (said.output && !loading) {
      loading = true;
      loadOutput(event.detail.socketWrapper).finally(() => { loading = false; });
    }
    if (focused && document.activeElement === document.body) document.querySelector(focused)?.focus({ preventScroll: true });
  });
})();
