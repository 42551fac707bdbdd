// Keys for people who prefer them. Everything here is also a link or a button; a key that decides only opens its dialog.
(() => {
  const off = () => localStorage.getItem("chiffon-keys") === "off";
  const typing = (target) => target.closest("input, textarea, select, [contenteditable]");
  const click = (selector) => { const found = document.querySelector(selector); if (found) found.click(); return Boolean(found); };
  let going = 0;

  const rows = () => [...document.querySelectorAll("[data-rows] > li, tbody[data-rows] > tr")];
  const move = (by) => {
    const all = rows();
    if (!all.length) return false;
    const now = all.findIndex((row) => row.contains(document.activeElement));
    const next = all[Math.min(Math.max(now + by, 0), all.length - 1)];
    const link = next.querySelector("a[href]");
    if (link) { link.focus(); next.scrollIntoView({ block: "nearest" }); }
    return true;
  };
  const open = (id) => {
    const sheet = document.getElementById(id);
    if (!sheet || !sheet.showPopover) return false;
    sheet.showPopover();
    return true;
  };

  const acts = {
    "?": () => open("keys"),
    "/": () => { const field = document.querySelector("main input[type=search]"); if (field) { field.focus(); field.select(); } return Boolean(field); },
    n: () => click("[data-key=n]"),
    j: () => move(1),
    k: () => move(-1),
    a: () => open("approve"),
    r: () => open("reject"),
    e: () => click("[data-key=e]"),
    c: () => click("[data-key=c]"),
  };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const field = event.target.closest("textarea");
      if (field && field.form) { event.preventDefault(); field.form.requestSubmit(); }
      return;
    }
    if (off() || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || typing(event.target)) return;
    if (document.querySelector(".sheet:popover-open")) return;
    let done = false;
    if (going && Date.now() - going < 1500) {
      going = 0;
      done = click(`[data-go="${CSS.escape(event.key)}"]`);
    } else if (event.key === "g") {
      going = Date.now();
      done = true;
    } else if (Object.hasOwn(acts, event.key)) {
      done = acts[event.key]();
    }
    if (done) event.preventDefault();
  });

  // A dialog that decides gives the focus back to where it came from; a form can not be sent twice.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent) { event.preventDefault(); return; }
    if (form.method === "post" && !form.hasAttribute("hx-post")) {
      form.dataset.sent = "1";
      setTimeout(() => { delete form.dataset.sent; }, 4000);
    }
  });

  const box = document.getElementById("keys-off");
  if (box) {
    box.checked = off();
    box.addEventListener("change", () => localStorage.setItem("chiffon-keys", box.checked ? "off" : "on"));
  }
})();
