"""Which unit files the service manager takes, and which it refuses."""

from pathlib import Path

import pytest

from chiffon_site.embedded.services.units import UnitError, check_name, parse_unit, read_unit

ROOT = Path("/srv/sandbox")


def parse(text: str, root: Path = ROOT):
    return parse_unit("web", text, root)


def test_a_unit_file_becomes_a_unit():
    unit = parse(
        "# kept by hand\n[Unit]\nDescription=A web server, 100% ours\n[Service]\n"
        "ExecStart=python3 '/srv/sandbox/web/my program.py' --title 'Hello; you'\nWorkingDirectory=/srv/sandbox/web\n"
        "Environment=MODE=demo 'GREETING=good day'\nPort=8080\nRestart=on-failure\n[Install]\nEnabled=no\n"
    )
    assert unit.description == "A web server, 100% ours"
    assert unit.script == Path("/srv/sandbox/web/my program.py")
    assert unit.arguments == ("--title", "Hello; you")
    assert unit.environment == (("MODE", "demo"), ("GREETING", "good day"))
    assert (unit.port, unit.restart, unit.enabled) == (8080, "on-failure", False)


def test_what_a_unit_file_leaves_out_has_a_default():
    unit = parse("[Service]\nExecStart=python3 /srv/sandbox/web/run.py\n")
    assert (unit.description, unit.working_directory) == ("web", Path("/srv/sandbox/web"))
    assert (unit.port, unit.restart, unit.enabled, unit.arguments) == (None, "always", True, ())


@pytest.mark.parametrize(
    "name",
    ["", "Kuma", "../kuma", "a/b", "kuma.service", "kuma\n", "-kuma", "k" * 49, "kümä", "a\0b", None, 7, ["kuma"]],
)
def test_a_name_that_could_become_a_path_is_refused(name):
    with pytest.raises(UnitError) as refusal:
        check_name(name)
    assert refusal.value.code == "bad_name"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "ExecStart is"),
        ("ExecStart=/bin/sh -c 'touch /tmp/x'", "ExecStart is"),
        ("ExecStart=python3 -c 'print(1)'", "ExecStart is"),
        ("ExecStart=python3 -m http.server", "ExecStart is"),
        ("ExecStart=/usr/bin/python3 /srv/sandbox/a.py", "ExecStart is"),
        ("ExecStart=python3", "ExecStart is"),
        ("ExecStart=python3 /etc/passwd", "outside the sandbox"),
        ("ExecStart=python3 /srv/sandbox/../other/a.py", "outside the sandbox"),
        ("ExecStart=python3 a.py", "outside the sandbox"),
        ("ExecStart=python3 /srv/sandbox/a.py 'open", "cannot be split"),
        ("ExecStart=python3 /srv/sandbox/a.py\nWorkingDirectory=/", "WorkingDirectory outside"),
        ("ExecStart=python3 /srv/sandbox/a.py\nPort=80", "Port=80"),
        ("ExecStart=python3 /srv/sandbox/a.py\nPort=-1", "Port=-1"),
        ("ExecStart=python3 /srv/sandbox/a.py\nPort=" + "9" * 5000, "Port=999"),
        ("ExecStart=python3 /srv/sandbox/a.py\nRestart=sometimes", "Restart=sometimes"),
        ("ExecStart=python3 /srv/sandbox/a.py\nEnvironment=LD_PRELOAD=/tmp/x.so", "may not set LD_PRELOAD"),
        ("ExecStart=python3 /srv/sandbox/a.py\nEnvironment=just words", "NAME=value"),
        ("ExecStart=python3 /srv/sandbox/a.py\nUser=root", "unknown key User"),
        ("ExecStart=python3 /srv/sandbox/a.py\nPort=auto\nPort=none", "not a unit file"),
        ("ExecStart=python3 /srv/sandbox/a.py\n[Timer]\nOnBoot=1", "unknown section"),
        ("ExecStart=python3 /srv/sandbox/a.py\n[Install]\nEnabled=maybe", "neither yes nor no"),
    ],
)
def test_a_unit_that_is_not_allowed_is_refused_with_the_reason(line, reason):
    with pytest.raises(UnitError) as refusal:
        parse(f"[Service]\n{line}\n")
    assert refusal.value.code == "bad_unit"
    assert reason in str(refusal.value)


@pytest.mark.parametrize("text", ["no section", "\0\0\0", "[Service", "= =\n="])
def test_text_that_is_no_unit_file_is_refused(text):
    with pytest.raises(UnitError, match="Unit web"):
        parse(text)


def test_a_link_a_huge_file_and_bytes_that_are_no_text_are_refused(tmp_path):
    units = tmp_path / "units"
    units.mkdir()
    (units / "link.service").symlink_to("/etc/hostname")
    (units / "huge.service").write_text("#" * 20_000)
    (units / "bytes.service").write_bytes(b"\xff\xfe\x00")
    for name, reason in [
        ("link", "symbolic link"),
        ("huge", "larger"),
        ("bytes", "not UTF-8"),
        ("none", "does not exist"),
    ]:
        with pytest.raises(UnitError, match=reason):
            read_unit(tmp_path, name)


def test_a_script_that_is_a_link_out_of_the_sandbox_is_refused(tmp_path):
    (tmp_path / "run.py").symlink_to("/etc/hostname")
    with pytest.raises(UnitError, match="outside the sandbox"):
        parse(f"[Service]\nExecStart=python3 {tmp_path}/run.py\n", tmp_path)
