"""A sandbox folder with its real service manager, for tests."""

import json
import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
HOMELAB = CHECKOUT / "examples" / "homelab"

# Serves its process id, counts SIGHUPs, and does as its arguments say.
PROGRAM = """
import http.server, json, os, pathlib, signal, subprocess, sys
hups = []
signal.signal(signal.SIGHUP, lambda *_: hups.append(1))
if "ignore-term" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "grandchild" in sys.argv:
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    pathlib.Path("grandchild").write_text(str(child.pid))
if "crash" in sys.argv:
    sys.exit(3)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"pid": os.getpid(), "hups": len(hups), "environ": dict(os.environ)}).encode())
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class Sandbox:
    """The folder, the manager's process, and what a test does with them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manager: subprocess.Popen[str] | None = None

    def start(self, **environment: str) -> None:
        """Start the manager and wait until it is ready."""
        self.manager = subprocess.Popen(
            [sys.executable, "-m", "chiffon_site.embedded.services", "--root", str(self.root)],
            cwd=CHECKOUT,
            env={"PATH": os.environ["PATH"], **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.manager.stdout is not None
        for line in self.manager.stdout:
            if "ready" in line:
                return
        raise AssertionError("the manager ended before it was ready")

    def end(self, *, kill: bool = False) -> float:
        """End the manager; the seconds that took."""
        if self.manager is None:
            return 0.0
        began = time.monotonic()
        if kill:
            self.manager.kill()
        else:
            self.manager.terminate()
        self.manager.communicate(timeout=10)
        self.manager = None
        return time.monotonic() - began

    def write_unit(self, name: str, arguments: str = "", **service: str) -> None:
        """Write the test's program and a unit that runs it."""
        program = self.root / name / "program.py"
        program.parent.mkdir(exist_ok=True)
        program.write_text(textwrap.dedent(PROGRAM))
        keys = {"ExecStart": f"python3 '{program}' {arguments}", "Port": "auto", **service}
        lines = "\n".join(f"{key}={value}" for key, value in keys.items())
        (self.root / "units" / f"{name}.service").write_text(f"[Service]\n{lines}\n")

    def send(self, data: bytes) -> dict[str, Any]:
        """Send raw bytes to the manager and return its answer; the socket is reached from inside its folder."""
        before = Path.cwd()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            os.chdir(self.root)
            try:
                connection.connect("manager.sock")
            finally:
                os.chdir(before)
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as stream:
                answer: dict[str, Any] = json.loads(stream.readline())
                return answer

    def ask(self, operation: object, unit: object = None) -> dict[str, Any]:
        """Ask the manager for one operation."""
        return self.send(json.dumps({"op": operation, "unit": unit}).encode() + b"\n")

    def ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the playbooks' client."""
        command = [sys.executable, str(HOMELAB / "files" / "servicectl.py"), "--root", str(self.root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)


def wait_for(condition: Callable[[], Any], *, seconds: float = 8.0) -> Any:
    """Wait until the condition gives something true, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
