"""A playbook runs as approved, is told live, and its end is judged honestly."""

from __future__ import annotations

import dataclasses
import os

import pytest

from agents.playbooks import runner
from agents.playbooks.runner import RunStatus, TaskProgress
from agents.protocol import FailureMode
from agents.supervisor.sweep import tagged

from .runs import Lab, Watcher, play


@pytest.fixture
def lab(tmp_path):
    return lambda **files: Lab(tmp_path, {name.replace("__", "/") + ".yml": text for name, text in files.items()})


def test_a_run_tells_every_line_and_task_and_ends_with_figures(lab):
    watcher = Watcher()
    outcome = lab(
        site=play(
            "{name: Say it, ansible.builtin.debug: {msg: hello}}",
            "{name: Change, ansible.builtin.command: echo hi}",
            "{name: Loop, ansible.builtin.debug: {msg: '{{ item }}'}, loop: [1, 2, 3]}",
            "{name: Never, ansible.builtin.debug: {msg: no}, when: false}",
            "{name: Tell, ansible.builtin.set_stats: {data: {url: 'http://x'}, aggregate: false}}",
            hosts="web",
        )
    ).run(watcher=watcher)
    assert outcome.status is RunStatus.COMPLETED
    assert (outcome.rc, outcome.failure, outcome.changed, outcome.tasks_reached) == (0, None, 2, 5)
    assert outcome.stats["web1"] == {
        "ok": 4,
        "changed": 1,
        "failures": 0,
        "unreachable": 0,
        "skipped": 1,
        "rescued": 0,
        "ignored": 0,
    }
    assert outcome.custom_stats == {"url": "http://x"}
    assert outcome.last_task == "Tell"
    assert outcome.resources.wall_seconds > 0.1
    assert outcome.resources.cpu_seconds > 0.1
    assert outcome.resources.peak_rss_bytes > 20_000_000
    mine = [(step.task, step.status, step.items) for step in watcher.steps if step.host == "web2"]
    assert mine == [
        ("Say it", "ok", 0),
        ("Change", "changed", 0),
        ("Loop", "ok", 3),
        ("Never", "skipped", 0),
        ("Tell", "ok", 0),
    ]
    assert "TASK [Say it]" in watcher.text
    assert "PLAY RECAP" in watcher.text
    assert "\x1b[0;32m" in watcher.text


def test_the_lease_is_kept_while_the_commit_is_exported(lab, monkeypatch):
    monkeypatch.setattr(runner, "LOOK_SECONDS", 0.0)
    kept = []

    class Kept(Watcher):
        def beat(self):
            kept.append(len(self.lines))
            return True

    lab(site=play("{ansible.builtin.debug: {}}"), **{f"files__f{n}": "{}" for n in range(50)}).run(watcher=Kept())
    assert kept.count(0) > 50


def test_a_failed_task_is_a_failure_of_the_work_with_host_and_message(lab):
    outcome = lab(
        site=play("{name: Break, ansible.builtin.fail: {msg: 'port 3001 is taken'}}", "{ansible.builtin.debug: {}}")
    ).run()
    assert outcome.status is RunStatus.FAILED
    assert outcome.failure.mode is FailureMode.USER
    assert outcome.failure.transient is False
    assert outcome.failure.message == "The task 'Break' failed on web1: port 3001 is taken"
    (failed,) = outcome.failed_tasks
    assert (failed.task, failed.host, failed.status) == ("Break", "web1", "failed")
    assert (outcome.tasks_reached, outcome.last_task) == (1, "Break")


def test_a_failed_command_says_what_the_program_said_last(lab):
    outcome = lab(site=play("{name: Run, ansible.builtin.shell: 'echo disk is odd >&2; exit 3'}")).run()
    assert (
        outcome.failure.message
        == "The task 'Run' failed on web1: The command exited with a non-zero return code: disk is odd"
    )


@pytest.mark.parametrize(
    ("message", "mode", "transient"),
    [
        ("Connection refused", FailureMode.SYSTEM, True),
        ("Could not get lock /var/lib/dpkg/lock", FailureMode.SYSTEM, True),
        ("Status code was 503 and not [200]", FailureMode.SYSTEM, True),
        ("No space left on device", FailureMode.RESOURCE, False),
    ],
)
def test_failures_that_pass_by_themselves_are_told_from_those_that_stay(lab, message, mode, transient):
    failure = lab(site=play(f"{{ansible.builtin.fail: {{msg: '{message}'}}}}")).run().failure
    assert (failure.mode, failure.transient) == (mode, transient)


def test_an_ignored_failure_is_no_failure(lab):
    outcome = lab(site=play("{name: Try, ansible.builtin.command: 'false', ignore_errors: true}")).run()
    assert outcome.status is RunStatus.COMPLETED
    assert outcome.stats["web1"]["ignored"] == 1
    assert [task.status for task in outcome.tasks] == ["ignored"]
    assert outcome.failed_tasks == ()


def test_a_rescued_failure_is_no_failure(lab):
    outcome = lab(
        site=play("{block: [{ansible.builtin.command: 'false'}], rescue: [{ansible.builtin.debug: {msg: saved}}]}")
    ).run()
    assert outcome.status is RunStatus.COMPLETED
    assert outcome.stats["web1"]["rescued"] == 1
    assert outcome.failed_tasks == ()


def test_an_unreachable_host_is_system_trouble_that_may_pass(tmp_path):
    down = "[web]\nweb1 ansible_host=127.0.0.1 ansible_port=1 ansible_ssh_common_args='-o ConnectTimeout=2'\n"
    lab = Lab(tmp_path, {"site.yml": play("{ansible.builtin.ping: {}}"), "inventory.ini": down})
    outcome = lab.run()
    assert outcome.status is RunStatus.FAILED
    assert outcome.stats["web1"]["unreachable"] == 1
    assert outcome.failure.mode is FailureMode.SYSTEM
    assert outcome.failure.transient is True
    assert outcome.failure.message.startswith("web1 could not be reached: ")


def test_a_run_that_takes_too_long_is_stopped_with_its_whole_tree(lab):
    place = lab(site=play("{name: Wait, ansible.builtin.shell: 'setsid sleep 300 & sleep 300'}"))
    for seconds in (2, 20):  # where others take this machine's cores, Ansible may not reach its task within two
        asked = place.asked(timeout_seconds=seconds)
        outcome = place.run(tag=asked.tag, timeout_seconds=seconds, grace_seconds=1)
        if outcome.last_task:
            break
    assert outcome.status is RunStatus.TIMEOUT
    assert outcome.failure.mode is FailureMode.RESOURCE
    assert outcome.last_task == "Wait"
    assert "at the task 'Wait'" in outcome.failure.message
    assert tagged(tags=[asked.tag]) == {}


def test_a_cancelled_run_stops_with_its_whole_tree(lab):
    place = lab(site=play("{name: Wait, ansible.builtin.shell: 'setsid sleep 300 & sleep 300'}"))
    asked = place.asked()
    outcome = place.run("site.yml", Watcher(cancel_when="TASK [Wait]"), tag=asked.tag, grace_seconds=1)
    assert outcome.status is RunStatus.CANCELLED
    assert tagged(tags=[asked.tag]) == {}


def test_a_lost_lease_stops_everything_at_once(lab):
    place = lab(site=play("{name: Wait, ansible.builtin.command: sleep 300}"))
    asked = place.asked()
    outcome = place.run("site.yml", Watcher(lose_when="TASK [Wait]"), tag=asked.tag)
    assert outcome.status is RunStatus.LOST
    assert (outcome.failure.mode, outcome.failure.transient) == (FailureMode.AGENT, True)
    assert tagged(tags=[asked.tag]) == {}


@pytest.mark.parametrize(
    ("playbook", "part"),
    [
        ("- hosts: web1\n  tasks: [{no.such.module: {}}]\n", "no.such.module"),
        ("- hosts: [\n", "could not be run"),
        ("- hosts: nowhere\n  tasks: []\n", "No host of the inventory matched, so nothing was done."),
    ],
)
def test_a_playbook_that_can_not_run_is_a_failure_in_a_sentence(lab, playbook, part):
    outcome = lab(site=playbook).run()
    assert outcome.status is RunStatus.FAILED
    assert outcome.failure.mode is FailureMode.USER
    assert part in outcome.failure.message


def test_check_mode_changes_nothing_and_shows_what_it_would_change(lab, tmp_path):
    target = tmp_path / "portals.conf"
    target.write_text("old\n")
    watcher = Watcher()
    place = lab(site=play(f"{{name: Write, ansible.builtin.copy: {{content: new, dest: {target}}}}}"))
    outcome = place.run(watcher=watcher, check=True)
    assert outcome.ok
    assert target.read_text() == "old\n"
    (step,) = watcher.steps
    assert (step.status, step.changed) == ("changed", True)
    assert "-old\n+new" in step.diff


def test_limit_and_tags_narrow_the_run(lab):
    place = lab(
        site=play(
            "{name: A, ansible.builtin.debug: {msg: a}, tags: [a]}",
            "{name: B, ansible.builtin.debug: {msg: b}, tags: [b]}",
            hosts="web",
        )
    )
    outcome = place.run(limit="web2", tags=("b",))
    assert [(task.task, task.host) for task in outcome.tasks] == [("B", "web2")]


def test_nothing_of_the_agents_environment_reaches_a_play(lab):
    os.environ["CHIFFON_TEST_SECRET"] = "leaked"
    try:
        watcher = Watcher()
        lab(
            site=play("{ansible.builtin.command: env, register: e}", "{ansible.builtin.debug: {var: e.stdout_lines}}")
        ).run(watcher=watcher, environment={"CHIFFON_SANDBOX": "/srv/sandbox"})
    finally:
        del os.environ["CHIFFON_TEST_SECRET"]
    assert "CHIFFON_SANDBOX=/srv/sandbox" in watcher.text
    assert "leaked" not in watcher.text
    assert "CHIFFON_EVENT_FD" not in watcher.text
    assert "PYTHONPATH" not in watcher.text


def test_a_play_can_not_speak_on_the_drivers_channel(lab):
    forged = '{"k":"end","rc":0,"status":"successful"}'
    outcome = lab(
        site=play(f"{{ansible.builtin.shell: 'for n in 3 4 5 6 7 8 9; do echo ''{forged}'' >&$n; done; exit 1'}}")
    ).run()
    assert outcome.status is RunStatus.FAILED


def test_secrets_are_usable_and_stand_in_no_command_line_or_environment(lab):
    watcher = Watcher()
    look = "grep -l sesa[m]e /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; true"
    place = lab(
        site=play(
            f"{{name: Look, ansible.builtin.shell: '{look}', register: r}}",
            "{ansible.builtin.assert: {that: [r.stdout == '', password | length == 14, \"'sesame' in password\"]}}",
        )
    )
    outcome = place.run(watcher=watcher, secrets={"password": "sesame {{ x }}!"[:14]})
    assert outcome.ok, watcher.text


def test_a_commit_that_is_not_the_approved_one_is_not_run(lab):
    place = lab(site=play("{ansible.builtin.debug: {}}"))
    outcome = place.run(tree="0" * 40)
    assert outcome.status is RunStatus.FAILED
    assert outcome.failure.mode is FailureMode.POLICY
    assert "are not those that were approved" in outcome.failure.message
    outcome = place.run(commit="0" * 40)
    assert outcome.failure.mode is FailureMode.SYSTEM


def test_what_changed_after_approval_does_not_run(lab):
    place = lab(site=play("{name: Approved, ansible.builtin.debug: {}}"))
    (place.repository / "site.yml").write_text(play("{name: Other, ansible.builtin.debug: {}}"))
    assert [task.task for task in place.run().tasks] == ["Approved"]


def test_the_export_is_read_only_for_the_play(lab):
    outcome = lab(
        site=play(
            "{ansible.builtin.command: 'stat -c %a {{ playbook_dir }}', register: r}",
            "{ansible.builtin.assert: {that: r.stdout == '500'}}",
        )
    ).run()
    assert outcome.ok


def test_the_progress_of_a_task_is_plain_data():
    step = TaskProgress("t", "h", "ok", False, 0, 1)
    assert dataclasses.asdict(step)["status"] == "ok"


BREAK_ON_WEB1 = "{name: Break, ansible.builtin.fail: {msg: broken}, when: inventory_hostname == 'web1'}"
LATER = "{name: Later, ansible.builtin.debug: {msg: later}}"


@pytest.mark.parametrize(
    ("plays", "finished"),
    [
        (play(BREAK_ON_WEB1, LATER, hosts="web"), ["web2"]),
        (play(BREAK_ON_WEB1, LATER, hosts="web", any_errors_fatal="true"), []),
        (play(BREAK_ON_WEB1, LATER, hosts="web", max_fail_percentage="0"), []),
        (play(BREAK_ON_WEB1, LATER, hosts="web", serial="1"), []),  # the second batch was never begun
        (play(BREAK_ON_WEB1.replace("web1", "web2"), LATER, hosts="web", serial="1"), []),  # another play might follow
        (play(LATER, hosts="web2") + play(BREAK_ON_WEB1, LATER, hosts="web1"), []),
        (play(BREAK_ON_WEB1, hosts="web") + play(LATER, hosts="web"), ["web2"]),
        (play(LATER, hosts="web"), ["web1", "web2"]),
    ],
)
def test_only_hosts_that_did_all_they_had_to_are_finished(lab, plays, finished):
    watcher = Watcher()
    outcome = lab(site=plays).run(watcher=watcher)
    assert outcome.reached["ended"] is True
    assert outcome.reached["finished"] == finished
    assert "to retry" not in watcher.text and "@" not in watcher.text


def test_how_far_a_run_is_is_told_while_it_runs(lab):
    seen = []

    class Looking(Watcher):
        def reached(self, so_far):
            seen.append(so_far())

    lab(site=play("{name: One, ansible.builtin.debug: {msg: 1}}", LATER, hosts="web")).run(watcher=Looking())
    assert [one["task"] for one in seen][:2] == ["One", "One"]
    assert all(one["finished"] == [] and not one["ended"] for one in seen[:-1])
    assert seen[-1]["finished"] == ["web1", "web2"]
    assert seen[-2]["hosts"]["web1"]["ok"] == 2
