// Keeps the newest output line in sight while one reads at the end, and the page light while thousands arrive.
(() => {
  const MOST = 2000;
  const follow = () => {
    const log = document.getElementById("log");
    if (!log) return;
    const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    let following = !location.hash.startsWith("#L") && !log.hasAttribute("data-still");
    if (following) log.scrollTop = log.scrollHeight;
    log.addEventListener("scroll", () => { following = atEnd(); }, { passive: true });
    new MutationObserver(() => {
      document.getElementById("no-lines")?.remove();
      if (!following) return;
      while (log.children.length > MOST) log.firstElementChild.remove();
      log.scrollTop = log.scrollHeight;
    }).observe(log, { childList: true });
  };
  follow();
  document.addEventListener("chiffon:log", follow);  // another output is shown
})();
