"""The manager itself: each unit's state, and the operations that a playbook asks for."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from chiffon_site.embedded.services import ports, processes
from chiffon_site.embedded.services.units import Unit, UnitError, check_name, read_unit

FIRST_WAIT_SECONDS: Final = 0.2
LONGEST_WAIT_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 10.0
STOP_GRACE_SECONDS: Final = 2.0

State = Literal["stopped", "running", "backing-off", "exited"]
Reply = dict[str, object]


@dataclass(slots=True)
class Service:
    """A unit that was asked for, and what became of it."""

    unit: Unit
    state: State = "stopped"
    process: subprocess.Popen[bytes] | None = None
    port: int | None = None
    restarts: int = 0
    wait_seconds: float = 0.0
    started: float = 0.0
    since: str = ""
    due: float = 0.0
    last_exit: int | None = None
    problem: str = ""


class Manager:
    """Starts, watches and stops the units below `root`. Used from one thread only."""

    def __init__(self, root: Path, *, say: Callable[[str], None], hurry: Callable[[], bool]) -> None:
        self.root = root
        self.say = say
        self.hurry = hurry
        self.services: dict[str, Service] = {}
        self.memory = ports.MemoryFile(root / "state.json")
        if self.memory.problem:
            say(self.memory.problem)
        for leftover in (root / "run").iterdir():
            leftover.unlink()
        if killed := processes.sweep(f"{root}|", prefix=True):
            say(f"Ended {killed} process(es) that an earlier manager had left.")

    def resume(self) -> None:
        """Start again what was running when the manager was last stopped."""
        for name, memory in sorted(self.memory.units.items()):
            if not memory.wanted:
                continue
            try:
                unit = read_unit(self.root, name)
                if unit.enabled:
                    self._launch(self.services.setdefault(name, Service(unit)), unit)
            except UnitError as problem:
                self.say(f"{name} was not started again: {problem}")

    def answer(self, operation: object, unit: object) -> Reply:
        """Carry out one operation; raises UnitError with the reason for a refusal."""
        match operation:
            case "ping":
                return {"changed": False}
            case "daemon-reload":
                return self._daemon_reload()
            case "list":
                names = sorted({path.stem for path in (self.root / "units").glob("*.service")} | set(self.services))
                return {"changed": False, "units": [self.status(name) for name in names]}
        name = check_name(unit)
        match operation:
            case "status":
                return {"changed": False, "unit": self.status(name)}
            case "start":
                changed = self._start(name)
            case "stop":
                changed = self._stop(name)
            case "restart":
                unit_now = read_unit(self.root, name)
                self._stop(name)
                self._begin(name, unit_now)
                changed = True
            case "reload":
                self._reload(name)
                changed = True
            case _:
                raise UnitError(
                    "bad_operation",
                    "Operations are ping, list, daemon-reload, status, start, stop, restart and reload.",
                )
        return {"changed": changed, "unit": self.status(name)}

    def status(self, name: str) -> Reply:
        """What is known about one unit; an unknown or refused one says why in `problem`."""
        service = self.services.get(name)
        problem, description = "", name
        if service is None:
            try:
                description = read_unit(self.root, name).description
            except UnitError as refusal:
                problem = str(refusal)
            return {"name": name, "description": description, "state": "stopped", "pid": None, "port": None, "url": "",
                    "restarts": 0, "since": "", "last_exit": None, "problem": problem}  # fmt: skip
        return {
            "name": name,
            "description": service.unit.description,
            "state": service.state,
            "pid": service.process.pid if service.process else None,
            "port": service.port,
            "url": f"http://127.0.0.1:{service.port}/" if service.port else "",
            "restarts": service.restarts,
            "since": service.since,
            "last_exit": service.last_exit,
            "problem": service.problem,
        }

    def tick(self) -> float:
        """Notice deaths, start what is due again; the seconds until it wants to be called again at the latest."""
        now = time.monotonic()
        next_call = 30.0
        for service in self.services.values():
            if service.process is not None:
                processes.shorten_log(self.root / "logs" / f"{service.unit.name}.log")
                if (code := service.process.poll()) is not None:
                    self._note_death(service, code, now)
            if service.state == "backing-off":
                if service.due <= now:
                    self._launch(service, service.unit)
                next_call = min(next_call, max(service.due - time.monotonic(), 0.01))
        return next_call

    def stop_all(self) -> None:
        """End every unit at once, keeping in memory that they are wanted."""
        running = [service for service in self.services.values() if service.process is not None]
        self._end(running)

    def _start(self, name: str) -> bool:
        service = self.services.get(name)
        self.tick()
        if service is not None and service.state == "running":
            return False
        self._begin(name, read_unit(self.root, name))
        return True

    def _begin(self, name: str, unit: Unit) -> None:
        service = self.services.setdefault(name, Service(unit))
        service.restarts, service.wait_seconds, service.last_exit = 0, 0.0, None
        self._launch(service, unit, asked=True)
        self.memory.of(name).wanted = True
        self.memory.save()

    def _launch(self, service: Service, unit: Unit, *, asked: bool = False) -> None:
        """Start the process; a person who asked gets the problem, a restart waits and tries again."""
        service.unit = unit
        try:
            if not unit.script.is_file():
                raise UnitError("not_startable", f"Unit {unit.name} has no program: {unit.script} does not exist.")
            service.port = self._port_for(unit)
            service.process = processes.spawn(unit, root=self.root, port=service.port)
        except (OSError, UnitError) as problem:
            sentence = str(problem) if isinstance(problem, UnitError) else f"Unit {unit.name} did not start: {problem}."
            service.problem = sentence
            if asked:
                service.state = "stopped"
                raise UnitError(getattr(problem, "code", "not_startable"), sentence) from problem
            self._back_off(service)
            return
        service.state, service.problem = "running", ""
        service.started, service.since = time.monotonic(), datetime.now(UTC).isoformat(timespec="milliseconds")
        (self.root / "run" / f"{unit.name}.json").write_text(json.dumps(self.status(unit.name)))
        self.say(
            f"{unit.name} runs as process {service.process.pid}" + (f" on port {service.port}" if service.port else "")
        )

    def _port_for(self, unit: Unit) -> int | None:
        """The unit's port: its own, the remembered one, or a free one that is remembered from now on."""
        if unit.port is None:
            return None
        if unit.port:
            if not ports.is_free(unit.port):
                raise UnitError("port_taken", f"Unit {unit.name} wants port {unit.port}, which is taken.")
            return unit.port
        memory = self.memory.of(unit.name)
        if memory.port is None or not ports.is_free(memory.port):
            if memory.port is not None:
                self.say(f"{unit.name} gets a new port: {memory.port} is taken.")
            memory.port = ports.pick_free()
            self.memory.save()
        return memory.port

    def _note_death(self, service: Service, code: int, now: float) -> None:
        processes.end(self._tagged([service]), grace_seconds=0, hurry=self.hurry)
        service.process, service.last_exit = None, code
        (self.root / "run" / f"{service.unit.name}.json").unlink(missing_ok=True)
        if now - service.started >= STEADY_SECONDS:
            service.wait_seconds = 0.0
        if service.unit.restart == "no" or (service.unit.restart == "on-failure" and code == 0):
            service.state = "exited"
            self.say(f"{service.unit.name} ended with {code}.")
            return
        service.problem = f"It ended with {code}; the end of logs/{service.unit.name}.log may say why."
        self._back_off(service)

    def _back_off(self, service: Service) -> None:
        service.wait_seconds = min(max(service.wait_seconds * 2, FIRST_WAIT_SECONDS), LONGEST_WAIT_SECONDS)
        service.due = time.monotonic() + service.wait_seconds
        service.state = "backing-off"
        service.restarts += 1
        self.say(f"{service.unit.name}: {service.problem} Trying again in {service.wait_seconds:g} s.")

    def _stop(self, name: str) -> bool:
        service = self.services.get(name)
        if service is None:
            if not (self.root / "units" / f"{name}.service").exists():
                raise UnitError("unknown_unit", f"There is no unit {name}: units/{name}.service does not exist.")
            changed = False
        else:
            changed = service.state in {"running", "backing-off"}
            self._end([service])
        self.memory.of(name).wanted = False
        self.memory.save()
        return changed

    def _end(self, stopping: list[Service]) -> None:
        processes.end(self._tagged(stopping), grace_seconds=STOP_GRACE_SECONDS, hurry=self.hurry)
        for service in stopping:
            if service.process is not None:
                service.last_exit = service.process.returncode
            service.process, service.state, service.since, service.problem = None, "stopped", "", ""
            (self.root / "run" / f"{service.unit.name}.json").unlink(missing_ok=True)

    def _tagged(self, services: list[Service]) -> list[tuple[subprocess.Popen[bytes], str]]:
        return [
            (service.process, processes.tag(self.root, service.unit.name))
            for service in services
            if service.process is not None
        ]

    def _reload(self, name: str) -> None:
        self.tick()
        service = self.services.get(name)
        if service is None or service.process is None:
            raise UnitError("not_running", f"Unit {name} is not running, so it cannot read its configuration again.")
        service.process.send_signal(signal.SIGHUP)

    def _daemon_reload(self) -> Reply:
        """Read every unit file again and forget the units whose file is gone and which do not run."""
        loaded, problems = [], {}
        for path in sorted((self.root / "units").glob("*.service")):
            try:
                loaded.append(read_unit(self.root, path.stem).name)
            except UnitError as problem:
                problems[path.stem] = str(problem)
        known = {path.stem for path in (self.root / "units").glob("*.service")}
        gone = [name for name in {*self.services, *self.memory.units} - known if not self._is_alive(name)]
        for name in gone:
            self.services.pop(name, None)
            self.memory.units.pop(name, None)
        if gone:
            self.memory.save()
        return {"changed": bool(gone), "loaded": loaded, "problems": problems, "forgotten": sorted(gone)}

    def _is_alive(self, name: str) -> bool:
        service = self.services.get(name)
        return service is not None and service.process is not None
