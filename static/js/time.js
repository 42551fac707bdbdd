// Keeps relative times true while a page stays open, and counts down to what is about to happen.
(() => {
  const words = (seconds) => {
    if (seconds < 5) return "just now";
    if (seconds < 60) return `${Math.floor(seconds)} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} d ago`;
  };
  const refresh = () => {
    for (const time of document.querySelectorAll("time[data-relative]")) {
      const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
      if (seconds < 0 || seconds > 7 * 86400) continue;
      const text = words(seconds);
      if (time.textContent !== text) time.textContent = text;
    }
  };
  const pad = (seconds) => {
    if (seconds < 60) return `${seconds} s`;
    const minutes = Math.floor(seconds / 60);
    if (minutes >= 60) return `${Math.floor(minutes / 60)} h${minutes % 60 ? ` ${minutes % 60} min` : ""}`;
    return minutes < 10 && seconds % 60 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  };
  const countDown = () => {
    for (const time of document.querySelectorAll("time[data-until]")) {
      const left = Math.ceil((Date.parse(time.dateTime) - Date.now()) / 1000);
      const text = left > 0 ? `in ${pad(left)}` : "any moment now";
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(() => { if (!document.hidden) refresh(); }, 5000);
  setInterval(() => { if (!document.hidden) countDown(); }, 1000);
  document.addEventListener("visibilitychange", refresh);
})();
