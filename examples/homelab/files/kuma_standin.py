"""A modest uptime monitor: the demo's stand-in for Uptime Kuma, which it is not and does not copy.

It reads its monitors from a JSON file (`{"title": "...", "monitors": [{"name": "...", "url": "..."}]}`), again on SIGHUP, and
serves `/` (a page), `/api/monitors` (JSON) and `/healthz` on 127.0.0.1. It never leaves this machine: only loopback addresses are
probed, and no name is looked up. Standard library only.
"""

import argparse
import html
import ipaddress
import json
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

PROBE_SECONDS = 15.0
PROBE_TIMEOUT_SECONDS = 2.0
LARGEST_CONFIG_BYTES = 1024 * 1024
DEFAULT_PORTS = {"http": 80, "https": 443}

STYLE = """
:root { color-scheme: light dark; --ok: light-dark(#17683a, #74d69f); --bad: light-dark(#ad221b, #ff9f97);
  --idle: light-dark(#676172, #9e97ae); --line: light-dark(#e4e1ea, #322d3c); }
body { margin: 0 auto; max-width: 46rem; padding: 2rem 1rem; font: 1rem/1.5 system-ui, sans-serif;
  background: light-dark(#f6f5f8, #131117); color: light-dark(#1c1924, #eeebf4); }
h1 { font-size: 1.6rem; margin: 0; }
p { color: light-dark(#4c4757, #c0bacd); margin: 0.25rem 0 1.25rem; }
ul { list-style: none; margin: 0; padding: 0; background: light-dark(#fff, #1b1820); border: 1px solid var(--line);
  border-radius: 10px; }
li { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; justify-content: space-between; padding: 0.75rem 1rem; }
li + li { border-top: 1px solid var(--line); }
.name { font-weight: 600; } .url, .detail { color: var(--idle); font-size: 0.875rem; overflow-wrap: anywhere; }
.state { font-weight: 600; } .state::before { content: "\\25CB  "; }
.up .state { color: var(--ok); } .up .state::before { content: "\\25CF  "; }
.down .state { color: var(--bad); } .down .state::before { content: "\\25B2  "; }
.unknown .state { color: var(--idle); }
footer { margin-top: 1.5rem; color: var(--idle); font-size: 0.875rem; } a { color: inherit; }
"""


class ConfigError(ValueError):
    """The configuration cannot be used; its text says why."""


@dataclass
class Monitor:
    """One thing that is watched, and what was last seen of it."""

    name: str
    url: str
    state: str = "unknown"
    detail: str = "not probed yet"
    checked_at: str | None = None


@dataclass
class Board:
    """Everything the page shows. Replaced as a whole when the configuration is read again."""

    title: str
    monitors: list[Monitor] = field(default_factory=list)
    loaded_at: str = ""


def read_config(path: Path) -> Board:
    """Read and check the configuration; raises ConfigError or another ValueError, or OSError."""
    if path.stat().st_size > LARGEST_CONFIG_BYTES:
        raise ConfigError("the configuration is larger than 1 MiB")
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("monitors"), list):
        raise ConfigError('the configuration is not {"title": ..., "monitors": [...]}')
    monitors = []
    for number, entry in enumerate(content["monitors"], start=1):
        name, url = (entry.get("name"), entry.get("url")) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or not name.strip() or not isinstance(url, str):
            raise ConfigError(f"monitor {number} has no name or no url")
        if urlsplit(url).scheme not in DEFAULT_PORTS or not urlsplit(url).hostname:
            raise ConfigError(f"monitor {number} ({name}) has a url that is not http or https")
        monitors.append(Monitor(name=name, url=url))
    return Board(title=str(content.get("title") or "Status"), monitors=monitors, loaded_at=now())


def now() -> str:
    """The time in UTC, as RFC 3339 writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def probe(url: str) -> tuple[str, str]:
    """The state and its reason: up or down for a loopback address, unknown for any other, which is left alone."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        port = parts.port or DEFAULT_PORTS[parts.scheme]
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback, port = False, 0
    if not loopback:
        return "unknown", "not probed in the demo: it is not on this machine"
    address = "127.0.0.1" if host == "localhost" else host
    began = time.monotonic()
    try:
        with socket.create_connection((address, port), timeout=PROBE_TIMEOUT_SECONDS):
            return "up", f"connected in {(time.monotonic() - began) * 1000:.0f} ms"
    except OSError as problem:
        return "down", problem.strerror or "no connection"


class Watcher(threading.Thread):
    """Holds the board, reads it again when asked, and probes slowly in the background."""

    def __init__(self, config: Path) -> None:
        super().__init__(daemon=True, name="watcher")
        self.config = config
        self.board = read_config(config)
        self.wake = threading.Event()
        self.reload_wanted = False

    def ask_reload(self, *_: object) -> None:
        """The handler of SIGHUP."""
        self.reload_wanted = True
        self.wake.set()

    def run(self) -> None:
        """Probe every monitor, wait, and begin again; a broken new configuration leaves the old one in force."""
        while True:
            self.wake.clear()
            if self.reload_wanted:
                self.reload_wanted = False
                try:
                    self.board = read_config(self.config)
                    print(f"Configuration read again: {len(self.board.monitors)} monitors", flush=True)
                except (OSError, ValueError) as problem:
                    print(f"Configuration not taken, the old one stays: {problem}", flush=True)
            for monitor in self.board.monitors:
                if self.reload_wanted:
                    break
                monitor.state, monitor.detail = probe(monitor.url)
                monitor.checked_at = now()
            self.wake.wait(PROBE_SECONDS)


def page(board: Board) -> str:
    """The page for people."""
    rows = "".join(
        f'<li class="{monitor.state}"><div><div class="name">{html.escape(monitor.name)}</div>'
        f'<a class="url" rel="noreferrer" href="{html.escape(monitor.url)}">{html.escape(monitor.url)}</a></div>'
        f'<div><div class="state">{monitor.state}</div><div class="detail">{html.escape(monitor.detail)}</div></div></li>'
        for monitor in board.monitors
    )
    count = len(board.monitors)
    listing = (
        f"<ul>{rows}</ul>" if rows else "<p>No monitors yet. The playbook kuma-config-update.yml adds portals.</p>"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="refresh" content="10">'
        f'<title>{html.escape(board.title)}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/style.css">'
        f"</head><body><main><h1>{html.escape(board.title)}</h1>"
        f"<p>{count} portal{'' if count == 1 else 's'} watched. Configuration read {html.escape(board.loaded_at).replace('T', ' ').replace('+00:00', ' UTC')}.</p>"
        f"{listing}</main><footer>Demo stand-in for Uptime Kuma, part of Chiffon's example homelab. "
        'It probes loopback addresses only. <a href="/api/monitors">JSON</a></footer></body></html>'
    )


def handler_for(watcher: Watcher) -> type[BaseHTTPRequestHandler]:
    """The request handler that shows this watcher's board."""

    class Handler(BaseHTTPRequestHandler):
        server_version = "kuma-standin"
        sys_version = ""

        def do_GET(self) -> None:
            board = watcher.board
            path = urlsplit(self.path).path
            if path == "/":
                self.reply(200, "text/html; charset=utf-8", page(board))
            elif path == "/style.css":
                self.reply(200, "text/css; charset=utf-8", STYLE)
            elif path == "/healthz":
                self.reply(200, "application/json", json.dumps({"status": "ok", "monitors": len(board.monitors)}))
            elif path == "/api/monitors":
                monitors = [vars(monitor) for monitor in board.monitors]
                content = {"title": board.title, "loaded_at": board.loaded_at, "monitors": monitors}
                self.reply(200, "application/json", json.dumps(content))
            else:
                self.reply(404, "text/plain; charset=utf-8", "There is nothing here.\n")

        def reply(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: a page that refreshes itself would fill the log."""

    return Handler


def main() -> int:
    """Serve until SIGTERM; 1 with one sentence when the configuration or the port cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "3001")))
    parser.add_argument("--check", action="store_true", help="read the configuration, say if it is good, and stop")
    options = parser.parse_args()
    try:
        watcher = Watcher(options.config)
        if options.check:
            return 0
        server = ThreadingHTTPServer(("127.0.0.1", options.port), handler_for(watcher))
    except (OSError, ValueError) as problem:
        print(f"The monitor cannot start: {problem}", file=sys.stderr)
        return 1
    server.daemon_threads = True
    signal.signal(signal.SIGHUP, watcher.ask_reload)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    watcher.start()
    print(f"Serving {len(watcher.board.monitors)} monitors on http://127.0.0.1:{options.port}/", flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
