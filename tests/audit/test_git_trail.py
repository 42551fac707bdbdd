"""Finished tasks reach git once, whole, and late rather than never."""

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest

from audit import git, git_trail, task_file
from audit.errors import GitTrailError, InvalidTaskFile
from audit.ids import uuid7

PLAN, TRACE = str(uuid7()), str(uuid7())


def payload(task_id: str = "", **changes):
    return {
        "task_id": task_id or str(uuid7()),
        "plan_id": PLAN,
        "trace_id": TRACE,
        "revision": 1,
        "digest": "7f" * 32,
        "status": "completed",
        "step": {"key": "deploy", "name": "Deploy Kuma", "tool": "ansible.playbook"},
        "dispatch": {"agent": "forge-01", "score": 87.5, "reason": "best score", "at": "2026-11-19T13:19:31+00:00"},
        "execution_result": {
            "outcome": "completed",
            "resources_used": {"cpu_seconds": 1.5, "wall_seconds": 12.0, "peak_memory_bytes": 73400320},
            "services_touched": ["kuma"],
            "started_at": "2026-11-19T13:19:32+00:00",
            "finished_at": "2026-11-19T13:19:44+00:00",
        },
        "approvals": [{"approver": "priya", "decision": "approved", "digest": "7f" * 32}],
        **changes,
    }


@pytest.fixture
def repository(tmp_path: Path, settings) -> Path:
    settings.CHIFFON_AUDIT_DIR = tmp_path / "audit"
    return tmp_path / "audit"


def commits_of(folder: Path) -> int:
    return git.count_commits(folder)


def said_by_git(folder: Path, *args: str) -> str:
    """What the git program itself says, as an auditor would ask it."""
    return subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.e2e_04
def test_a_batch_of_tasks_is_one_commit_by_the_audit_author_that_names_plan_and_trace(repository, settings):
    settings.CHIFFON_AUDIT_AUTHOR = "The Trail <trail@example.org>"
    batch = [payload(), payload(), payload()]
    commit = git_trail.commit_tasks(batch)
    assert said_by_git(repository, "rev-parse", "main") == commit
    assert commits_of(repository) == 1
    assert said_by_git(repository, "log", "-1", "--format=%an <%ae>|%cn|%s") == (
        "The Trail <trail@example.org>|The Trail|Record 3 finished tasks"
    )
    assert (
        said_by_git(repository, "log", "-1", "--format=%(trailers:only)")
        == f"Chiffon-Plan: {PLAN}\nChiffon-Trace: {TRACE}"
    )
    names = said_by_git(repository, "ls-tree", "-r", "--name-only", "main").splitlines()
    assert names == sorted(f".audit/tasks/{one['task_id']}.json" for one in batch)


def test_the_files_lie_in_the_work_tree_too_once_they_are_shown_and_git_sees_no_difference(repository):
    one = payload()
    git_trail.commit_tasks([one])
    git_trail.commit_tasks([payload()])
    git_trail.show()
    assert json.loads((repository / ".audit/tasks" / f"{one['task_id']}.json").read_text()) == one
    assert said_by_git(repository, "status", "--porcelain") == ""


def test_the_file_has_the_documented_fields_with_sorted_keys_whatever_order_they_came_in(repository):
    one = payload()
    backwards = dict(reversed(one.items()))
    assert task_file.render(one) == task_file.render(backwards)
    text = task_file.render(one).decode()
    assert list(json.loads(text)) == sorted(one)
    assert text.endswith("}\n")


@pytest.mark.e2e_04
def test_the_same_content_again_makes_no_new_commit(repository):
    batch = [payload(), payload()]
    first = git_trail.commit_tasks(batch)
    git_trail.commit_tasks([payload()])
    assert git_trail.commit_tasks(batch) == first
    assert git_trail.commit_tasks([batch[0]]) == first
    assert commits_of(repository) == 2


def test_a_task_that_finished_twice_rewrites_its_file_in_a_new_commit(repository):
    one = payload(status="failed")
    first = git_trail.commit_tasks([one])
    second = git_trail.commit_tasks([payload(one["task_id"], status="completed")])
    found = git_trail.find_task(one["task_id"])
    assert found is not None
    assert second != first
    assert (found.commit, found.content["status"]) == (second, "completed")
    assert said_by_git(repository, "log", "--format=%H", "--", found.path).split() == [second, first]


def test_of_one_task_twice_in_a_batch_the_later_counts(repository):
    one = payload(status="failed")
    git_trail.commit_tasks([one, payload(one["task_id"], status="completed")])
    found = git_trail.find_task(one["task_id"])
    assert found is not None
    assert found.content["status"] == "completed"
    assert commits_of(repository) == 1


def test_many_writers_at_once_lose_nothing(repository):
    batches = [[payload(), payload()] for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(git_trail.commit_tasks, batches))
    assert len(set(made)) == 8
    assert commits_of(repository) == 8
    names = said_by_git(repository, "ls-tree", "-r", "--name-only", "main").splitlines()
    assert names == sorted(f".audit/tasks/{one['task_id']}.json" for batch in batches for one in batch)
    git_trail.show()
    assert said_by_git(repository, "status", "--porcelain") == ""


def test_a_stranger_who_commits_in_between_is_kept(repository):
    git_trail.commit_tasks([payload()])
    (repository / "note.txt").write_text("by a person\n")
    said_by_git(repository, "add", "note.txt")
    said_by_git(repository, "-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-q", "-m", "A note")
    git_trail.commit_tasks([payload()])
    assert git.read_file(repository, "note.txt") == b"by a person\n"
    assert commits_of(repository) == 3


def test_find_task_answers_path_commit_author_and_content(repository):
    one = payload()
    commit = git_trail.commit_tasks([one])
    git_trail.commit_tasks([payload()])
    found = git_trail.find_task(UUID(one["task_id"]))
    assert found is not None
    assert found.as_dict() | {"at": ""} == {
        "path": f".audit/tasks/{one['task_id']}.json",
        "commit": commit,
        "at": "",
        "author": "Chiffon audit <audit@chiffon.invalid>",
        "content": one,
    }
    assert found.at.startswith("20")


def test_a_hint_is_believed_only_if_that_commit_holds_the_same_bytes(repository):
    one = payload(status="failed")
    old = git_trail.commit_tasks([one])
    new = git_trail.commit_tasks([payload(one["task_id"])])
    for hint in (new, old, "0" * 40, "--output=x", "", "main"):
        found = git_trail.find_task(one["task_id"], hints=[hint])
        assert found is not None
        assert found.commit == new


def test_an_unknown_task_and_a_missing_repository_are_not_found(repository):
    assert git_trail.find_task(uuid7()) is None
    assert not repository.exists()
    git_trail.commit_tasks([payload()])
    assert git_trail.find_task(uuid7()) is None


def test_a_bare_repository_works_as_well(repository):
    subprocess.run(["git", "init", "-q", "--bare", "--initial-branch=main", str(repository)], check=True)
    one = payload()
    commit = git_trail.commit_tasks([one])
    found = git_trail.find_task(one["task_id"])
    assert found is not None
    assert found.commit == commit


def test_a_broken_repository_is_an_error_now_and_a_success_once_it_is_repaired(repository):
    git_trail.commit_tasks([payload()])
    objects = repository / ".git" / "objects"
    objects.rename(repository / "objects-gone")
    one = payload()
    with pytest.raises(GitTrailError):
        git_trail.commit_tasks([one])
    with pytest.raises(GitTrailError):
        git_trail.find_task(one["task_id"])
    shutil.rmtree(objects, ignore_errors=True)
    (repository / "objects-gone").rename(objects)
    git_trail.commit_tasks([one])
    assert commits_of(repository) == 2


def test_what_a_killed_git_left_behind_stands_in_nobodys_way(repository):
    git_trail.commit_tasks([payload()])
    (repository / ".git" / "index.lock").touch()
    (repository / ".git" / "chiffon-index-killed").mkdir()
    (repository / ".git" / "fast_import_crash_1").touch()
    said_by_git(repository, "update-ref", "refs/chiffon/next", said_by_git(repository, "rev-parse", "main"))
    one = payload()
    git_trail.commit_tasks([one])
    git_trail.show()
    assert commits_of(repository) == 2
    assert (repository / ".audit/tasks" / f"{one['task_id']}.json").exists()
    assert not [*(repository / ".git").glob("chiffon-index-*"), *(repository / ".git").glob("fast_import_crash_*")]
    assert said_by_git(repository, "for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_a_file_that_is_gone_or_changed_in_the_work_tree_comes_back(repository):
    gone, changed = payload(), payload()
    git_trail.commit_tasks([gone, changed])
    git_trail.show()
    places = [repository / task_file.path_of(one["task_id"]) for one in (gone, changed)]
    places[0].unlink()
    places[1].write_text("{}")
    git_trail.show()
    assert [json.loads(place.read_text()) for place in places] == [gone, changed]
    assert commits_of(repository) == 1


def test_many_batches_do_not_leave_many_packs(repository, monkeypatch):
    monkeypatch.setattr(git, "MOST_PACKS", 3)
    batches = [[payload() for _ in range(120)] for _ in range(5)]
    for batch in batches:
        git_trail.commit_tasks(batch)
    packs = repository / ".git" / "objects" / "pack"
    assert len(list(packs.glob("*.pack"))) == 5
    git_trail.show()
    assert len(list(packs.glob("*.pack"))) <= 2
    assert said_by_git(repository, "fsck", "--strict", "--no-dangling") == ""
    assert len(said_by_git(repository, "ls-tree", "-r", "--name-only", "main").splitlines()) == 600


def test_a_folder_that_cannot_be_made_is_one_clear_sentence(tmp_path, settings):
    (tmp_path / "file").write_text("")
    settings.CHIFFON_AUDIT_DIR = tmp_path / "file" / "audit"
    with pytest.raises(GitTrailError, match="could not be made"):
        git_trail.commit_tasks([payload()])


def test_the_configuration_and_hooks_of_whoever_runs_it_have_no_say(repository, tmp_path, monkeypatch):
    git_trail.commit_tasks([payload()])
    hook = repository / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    (tmp_path / ".gitconfig").write_text("[commit]\n gpgSign = true\n[user]\n name = Nobody\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", os.devnull)
    git_trail.commit_tasks([payload()])
    assert commits_of(repository) == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"task_id": "../../etc/passwd"}, "not the id of a task"),
        ({"task_id": 7}, "not the id of a task"),
        ({"digest": "abc"}, "digest must be 64 hexadecimal digits"),
        ({"revision": 0}, "revision must be a positive number"),
        ({"revision": True}, "revision must be a positive number"),
        ({"status": "done"}, "status must be one of"),
        ({"step": {"key": "deploy"}}, "step.name is missing"),
        ({"dispatch": {"agent": 1, "score": "x", "reason": None, "at": "noon"}}, "dispatch.agent must be text or null"),
        ({"approvals": ["priya"]}, "approvals must be a list of objects"),
        ({"extra": 1}, "extra is not a field of it"),
        ({"step": {"key": "a", "name": "b", "tool": "c", "x": float("nan")}}, "not written"),
    ],
)
def test_a_payload_without_the_documented_fields_is_refused_whole(repository, change, sentence):
    with pytest.raises(InvalidTaskFile, match=sentence):
        git_trail.commit_tasks([payload(), payload(**change)])
    assert commits_of(repository) == 0


def test_the_objects_inside_may_hold_more_and_numbers_of_any_size(repository):
    one = payload()
    one["execution_result"]["output"] = {"bytes": 2**80, "ratio": 0.1, "names": ["ü", "\u2028"]}
    git_trail.commit_tasks([one])
    found = git_trail.find_task(one["task_id"])
    assert found is not None
    assert found.content == one


def test_a_missing_field_is_named():
    one = payload()
    del one["approvals"]
    with pytest.raises(InvalidTaskFile, match="approvals is missing"):
        task_file.validate(one)


def test_committing_nothing_is_a_mistake_of_the_caller(repository):
    with pytest.raises(ValueError, match="no task"):
        git_trail.commit_tasks([])


@pytest.mark.parametrize("path", ["../x", "/etc/x", ".git/config", "a/.GIT/x", "-x", "a//b", "a\nb", "", "a/../b"])
def test_a_path_outside_the_repository_is_refused(repository, path):
    git.ensure_repository(repository)
    with pytest.raises(GitTrailError, match="not the path"):
        git.commit_files(repository, {path: b""}, message="x", author="A <a@b.c>")


@pytest.mark.parametrize("author", ["nobody", "<a@b.c>", "A <a@b.c>\nB <b@b.c>", "A <a b@c>"])
def test_an_author_that_git_would_refuse_is_said_at_the_start(settings, author):
    from audit.conf import check_settings

    settings.CHIFFON_AUDIT_AUTHOR = author
    assert [found.id for found in check_settings()] == ["audit.E001"]


@pytest.mark.e2e_04
def test_what_the_engine_writes_about_a_task_is_taken_and_recorded(repository, story):
    from plans.execution.task_file import commit_finished_tasks
    from plans.models import Attempt, UnwrittenTask

    Attempt.objects.filter(pk=story.attempt.pk).update(started_at=story.approval.at, finished_at=story.approval.at)
    UnwrittenTask.objects.create(attempt=story.attempt)
    assert commit_finished_tasks({}) == {"tasks": 1}
    found = git_trail.find_task(story.step.pk)
    assert found is not None
    assert (found.content["status"], found.content["approvals"][0]["approver"]) == ("completed", "priya")
    assert commit_finished_tasks({}) == {"tasks": 0}
    assert commits_of(repository) == 1


@pytest.mark.e2e_04
def test_the_story_of_a_task_names_the_commit_that_brought_it_and_no_other(repository, story):
    from audit import query
    from plans.execution.task_file import commit_finished_tasks
    from plans.models import Attempt, Step, UnwrittenTask

    when = {"started_at": story.approval.at, "finished_at": story.approval.at}
    step = Step.objects.create(
        plan=story.plan, revision=story.step.revision, index=9, key="late", name="late", tool="diagnostic.noop", status="completed"
    )  # fmt: skip
    later = Attempt.objects.create(step=step, plan=story.plan, number=1, status="completed", agent=story.agent, **when)
    Attempt.objects.filter(pk=story.attempt.pk).update(**when)
    assert query.commits_of(story.plan.trace_id) == []
    for attempt in (later, story.attempt):  # the plan's first commit does not hold the task
        UnwrittenTask.objects.create(attempt=attempt)
        assert commit_finished_tasks({}) == {"tasks": 1}
    told = query.task_story(story.step.pk)
    assert told.commit is not None
    both = [record.metadata["commit"] for record in query.commits_of(story.plan.trace_id)]
    assert (len(both), commits_of(repository), told.commit.commit) == (2, 2, both[1])
    assert [record.metadata["commit"] for record in told.records if record.type == "tasks.committed"] == both[1:]
    thread = [record.type for record in query.timeline(story.plan.trace_id).records]
    assert thread[-2:] == ["tasks.committed", "tasks.committed"]
    assert query.timeline(story.plan.trace_id, limit=2).records == query.timeline(story.plan.trace_id).records[:2]
    assert query.commits_of(uuid7()) == []


def test_the_work_tree_follows_when_nothing_runs(repository, story, monkeypatch):
    from plans.execution import task_file as tasks
    from plans.models import Attempt, UnwrittenTask

    monkeypatch.setattr(tasks, "_SHOWN_AT_ONCE", 0)
    ended = {"started_at": story.approval.at, "finished_at": story.approval.at}
    Attempt.objects.filter(pk=story.attempt.pk).update(**ended)
    running = Attempt.objects.create(step=story.step, plan=story.plan, number=7)
    shown = repository / task_file.path_of(story.step.pk)
    UnwrittenTask.objects.create(attempt=story.attempt)
    tasks.commit_finished_tasks({})
    assert git_trail.find_task(story.step.pk) is not None
    assert not shown.exists()
    Attempt.objects.filter(pk=running.pk).update(status="cancelled", **ended)
    UnwrittenTask.objects.create(attempt=running)
    tasks.commit_finished_tasks({})
    assert json.loads(shown.read_text())["execution_result"]["attempts"] == 2
