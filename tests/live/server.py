"""The shipped web server as a real process beside the test database."""

import asyncio
import socket
import subprocess
import sys
import time

import httpx


class Server:
    def __init__(self, environment, checkout, log):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.checkout, self.log = checkout, log
        self.environment = {
            **environment,
            "CHIFFON_PROCESS": "web",
            "CHIFFON_PORT": str(self.port),
            "CHIFFON_PUBLIC_URL": f"http://{self.address}",
            "CHIFFON_SECRET_KEY": "a-key-for-tests-only-" + "0123456789abcdef" * 2,
        }

    def start(self):
        command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(self.port)]
        command += ["--websocket-max-message-size", "16777216", "--websocket-max-frame-size", "65536"]
        command += ["--application-close-timeout", "3", "chiffon_site.asgi:application"]
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                command, env=self.environment, cwd=self.checkout, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )

    def wait(self):
        """Until it answers."""
        for _ in range(300):
            assert self.process.poll() is None, self.log.read_text()
            try:
                if httpx.get(f"http://{self.address}/healthz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    async def ready(self):
        await asyncio.to_thread(self.wait)

    def kill(self):
        self.process.kill()
        self.process.wait(10)
