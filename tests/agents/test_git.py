"""Git is used so that only what was approved is exported."""

from __future__ import annotations

import os
import subprocess

import pytest

from agents.git import (
    GitError,
    Person,
    check_url,
    clone_or_fetch,
    export,
    init_from_folder,
    remove_export,
    resolve,
    show,
    tree_of,
)

AUTHOR = Person("Chiffon Audit", "audit@example.org")


@pytest.fixture
def repository(tmp_path):
    source = tmp_path / "source"
    (source / "roles/kuma/tasks").mkdir(parents=True)
    (source / "site.yml").write_text("- hosts: all\n")
    (source / "roles/kuma/tasks/main.yml").write_text("[]\n")
    (source / "roles.txt").write_text("sorts between\n")
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "here.yml").symlink_to("site.yml")
    init_from_folder(source, tmp_path / "repository", AUTHOR)
    return tmp_path / "repository"


def git(repository, *args):
    env = {**os.environ, "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@x", "GIT_COMMITTER_NAME": "a"}
    env |= {"GIT_COMMITTER_EMAIL": "a@x", "GIT_CONFIG_GLOBAL": "/dev/null"}
    done = subprocess.run(["git", "-C", repository, *args], check=True, env=env, capture_output=True, text=True)
    return done.stdout.strip()


def commit_all(repository):
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "more")
    return resolve(repository, "main")


@pytest.fixture
def destination(tmp_path):
    yield tmp_path / "export"
    remove_export(tmp_path / "export")


def test_a_branch_resolves_to_a_full_commit_and_its_tree(repository):
    commit = resolve(repository, "main")
    assert commit == git(repository, "rev-parse", "main")
    assert resolve(repository, commit[:10]) == commit
    assert tree_of(repository, commit) == git(repository, "rev-parse", "main^{tree}")


@pytest.mark.parametrize("ref", ["", "nope", "--help", "main..main", "-o", "a b", "main\n", "@{upstream}", "main^0"])
def test_what_is_no_name_of_a_commit_is_refused_in_a_sentence(repository, ref):
    with pytest.raises(GitError, match="(is not the name|no commit that is called)"):
        resolve(repository, ref)


def test_an_export_is_the_commit_read_only_and_names_its_tree(repository, destination):
    commit = resolve(repository, "main")
    assert export(repository, commit, destination) == tree_of(repository, commit)
    assert (destination / "roles/kuma/tasks/main.yml").read_text() == "[]\n"
    assert (destination / "run.sh").stat().st_mode & 0o777 == 0o500
    assert (destination / "site.yml").stat().st_mode & 0o777 == 0o400
    assert (destination / "here.yml").read_text() == "- hosts: all\n"
    assert destination.stat().st_mode & 0o222 == 0


def test_an_export_takes_the_commit_not_the_work_tree(repository, destination):
    commit = resolve(repository, "main")
    (repository / "site.yml").write_text("changed afterwards\n")
    commit_all(repository)
    export(repository, commit, destination)
    assert (destination / "site.yml").read_text() == "- hosts: all\n"


def test_attributes_of_the_repository_do_not_change_what_is_exported(repository, destination):
    (repository / ".gitattributes").write_text("site.yml export-ignore\nroles.txt export-subst filter=evil\n")
    git(repository, "config", "filter.evil.smudge", f"touch {destination}.marker")
    (repository / "roles.txt").write_text("$Format:%H$\n")
    commit = commit_all(repository)
    export(repository, commit, destination)
    assert (destination / "site.yml").exists()
    assert (destination / "roles.txt").read_text() == "$Format:%H$\n"
    assert not destination.with_suffix(".marker").exists()


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "roles/../../outside", ".."])
def test_a_symbolic_link_that_leaves_the_tree_is_refused(repository, destination, target):
    (repository / "link").symlink_to(target)
    commit = commit_all(repository)
    with pytest.raises(GitError, match=r"The symbolic link 'link' leads out of the repository"):
        export(repository, commit, destination)


def test_a_chain_of_links_can_not_be_used_to_write_outside(repository, destination, tmp_path):
    (repository / "a").symlink_to("roles")
    (repository / "roles/up").symlink_to("../..")
    commit = commit_all(repository)
    with pytest.raises(GitError, match="leads out of the repository"):
        export(repository, commit, destination)


def test_a_link_by_way_of_another_link_is_followed_before_it_is_believed(repository, destination):
    (repository / "0/e/f").mkdir(parents=True)
    (repository / "0/e/f/l").symlink_to("../../..")  # stays inside
    (repository / "a").symlink_to("0/e/f/l/..")  # looks as if it did
    commit = commit_all(repository)
    with pytest.raises(GitError, match="The symbolic link 'a' leads out of the repository"):
        export(repository, commit, destination)


def test_a_tree_that_lists_a_path_as_a_link_and_as_a_folder_writes_nothing(repository, destination, tmp_path):
    def stored(kind, data):
        words = ["git", "-C", repository, "hash-object", "-t", kind, "-w", "--stdin", "--literally"]
        return subprocess.run(words, input=data, check=True, capture_output=True).stdout.decode().strip()

    link, text = stored("blob", b"../outside"), stored("blob", b"mine")
    inner = stored("tree", b"100644 new.pth\0" + bytes.fromhex(text))
    tree = stored("tree", b"120000 a\0" + bytes.fromhex(link) + b"40000 a\0" + bytes.fromhex(inner))
    commit = git(repository, "commit-tree", tree, "-m", "odd")
    (tmp_path / "outside").mkdir()
    with pytest.raises(GitError, match="The commit lists 'a' twice"):
        export(repository, commit, destination)
    assert list((tmp_path / "outside").iterdir()) == []


def test_submodules_and_files_kept_elsewhere_are_refused(repository, destination):
    head = resolve(repository, "main")
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{head},vendor")
    git(repository, "commit", "-q", "-m", "submodule")
    with pytest.raises(GitError, match="submodule, 'vendor'"):
        export(repository, resolve(repository, "main"), destination)
    git(repository, "reset", "-q", "--hard", head)
    (repository / "big.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(GitError, match="git LFS"):
        export(repository, commit_all(repository), destination)


def test_a_repository_whose_objects_were_changed_is_noticed(repository, destination):
    commit = resolve(repository, "main")
    blob = git(repository, "rev-parse", "main:site.yml")
    other = git(repository, "rev-parse", "main:roles.txt")
    objects = repository / ".git/objects"
    victim = objects / blob[:2] / blob[2:]
    victim.chmod(0o600)
    victim.write_bytes((objects / other[:2] / other[2:]).read_bytes())
    with pytest.raises(GitError, match=r"(do not add up|damaged|corrupt|hash mismatch|failed)"):
        export(repository, commit, destination)


def test_show_reads_one_file_of_a_commit_and_nothing_else(repository):
    commit = resolve(repository, "main")
    assert show(repository, commit, "site.yml") == b"- hosts: all\n"
    for path in ("nope.yml", "../x", "/etc/passwd", "", "a\0b", ".git/config"):
        with pytest.raises(GitError):
            show(repository, commit, path)
    with pytest.raises(GitError, match="not the full id"):
        show(repository, "main", "site.yml")


def test_a_clone_is_made_once_and_then_brought_up_to_date(repository, tmp_path):
    copy = clone_or_fetch(str(repository), tmp_path / "copies/one.git")
    assert resolve(copy, "main") == resolve(repository, "main")
    (repository / "new.yml").write_text("[]\n")
    commit = commit_all(repository)
    assert clone_or_fetch(repository.as_uri(), copy) == copy
    assert resolve(copy, "main") == commit


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% /tmp/x",
        "ssh://-oProxyCommand=touch/x",
        "-oProxyCommand=x:y",
        "--upload-pack=touch /tmp/x",
        "http://example.org/x.git",
        "git://example.org/x.git",
        "https://user:secret@example.org/x.git",
        "https://token@example.org/x.git",
        "ssh://git:pw@example.org/x.git",
        "relative/folder",
        "",
        "https://",
        "https://exa mple.org/",
        "https://example.org/\n",
        "file::/x",
        "fd::7",
        "https://[::1",
    ],
)
def test_addresses_that_could_run_something_or_hold_a_secret_are_refused(url, tmp_path):
    with pytest.raises(GitError) as caught:
        clone_or_fetch(url, tmp_path / "never")
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    "url",
    ["https://example.org/a/b.git", "ssh://git@example.org:22/a.git", "git@example.org:a/b.git", "/srv/a", "file:///a"],
)
def test_plain_addresses_are_allowed(url):
    assert check_url(url) == url


def test_a_repository_that_is_not_there_is_said_in_a_sentence(tmp_path):
    with pytest.raises(GitError, match="There is no repository at"):
        resolve(tmp_path / "nope", "main")
    with pytest.raises(GitError):
        clone_or_fetch(str(tmp_path / "nope"), tmp_path / "copy")
