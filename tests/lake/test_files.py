"""Files on a local disk, which nobody sees until they are whole."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.lake.errors import CohereStorageError
from airflow_provider_cohere_datasets.lake.failures import is_permanent
from airflow_provider_cohere_datasets.lake.files import LocalFile
from airflow_provider_cohere_datasets.lake.publish import Place


@pytest.fixture(params=["nameless", "hidden"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Platforms with files that have no name, and those without."""
    if request.param == "hidden":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    return str(request.param)


@pytest.mark.usefixtures("kind")
def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "x.parquet"
    target.write_bytes(b"old")
    file = LocalFile(str(target))
    file.write(b"new")
    assert target.read_bytes() == b"old"
    file.publish()
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.usefixtures("kind")
def test_an_abandoned_file_leaves_nothing_behind_not_even_folders(tmp_path: Path) -> None:
    file = LocalFile(str(tmp_path / "a" / "b" / "x.parquet"))
    file.write(b"new")
    file.abandon()
    assert list(tmp_path.iterdir()) == []
    file.abandon()


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize(
    ("kind", "call"),
    [("nameless", "mkdir"), ("nameless", "open"), ("nameless", "link"), ("hidden", "mkdir"), ("hidden", "open")],
    indirect=["kind"],
)
def test_a_handler_that_raises_right_behind_a_system_call_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real = getattr(os, call)

    def and_stop(*args: Any, **options: Any) -> Any:
        got = real(*args, **options)
        if call == "open":
            os.close(got)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, call, and_stop)
    file = None
    with contextlib.suppress(KeyboardInterrupt):
        file = LocalFile(str(tmp_path / "a" / "x.parquet"))
        file.publish()
        pytest.fail(f"it did not call {call}")
    if file is not None:
        file.abandon()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "call"), [("nameless", "open"), ("nameless", "link"), ("hidden", "open")], indirect=["kind"]
)
def test_that_there_is_no_room_is_told_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, call: str
) -> None:
    real = getattr(os, call)

    def full(path: Any, flags: Any = 0, *args: Any, **options: Any) -> Any:
        if call == "open" and not flags & os.O_WRONLY:
            return real(path, flags, *args, **options)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    place = Place(tmp_path / "a" / "x.parquet")

    def write() -> None:
        file = place.create()
        try:
            file.publish()
        finally:
            file.abandon()

    with pytest.raises(CohereStorageError, match="No space left"), place.failures():
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("kind")
def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_before_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a machine that loses its power may have an empty file there, or the old one though the task succeeded."""
    target = tmp_path / "x.parquet"
    real, durable = os.fsync, []

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        durable.append(("folder" if stat.S_ISDIR(status.st_mode) else status.st_size, target.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    file = LocalFile(str(target))
    file.write(b"whole")
    file.publish()
    assert durable == [(5, False), ("folder", True)]


@pytest.mark.usefixtures("kind")
def test_a_file_that_is_in_place_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every file system makes the name of a file durable when it is asked to."""
    target = tmp_path / "x.parquet"
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    file = LocalFile(str(target))
    file.write(b"whole")
    file.publish()
    assert target.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.usefixtures("kind")
def test_a_file_leaves_no_descriptor_open(tmp_path: Path) -> None:
    process = psutil.Process()
    before = process.num_fds()
    for number in range(3):
        LocalFile(str(tmp_path / f"{number}.parquet")).publish()
        LocalFile(str(tmp_path / f"{number}.parquet")).abandon()
    assert process.num_fds() == before


@pytest.mark.usefixtures("kind")
def test_folders_that_others_use_by_now_stay(tmp_path: Path) -> None:
    file = LocalFile(str(tmp_path / "a" / "x.parquet"))
    (tmp_path / "a" / "theirs").touch()
    file.abandon()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["theirs"]


def test_a_folder_that_another_run_made_at_the_same_moment_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.mkdir

    def too_late(path: Any, *args: Any) -> None:
        real(path, *args)
        if Path(path).name == "theirs":
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    monkeypatch.setattr(os, "mkdir", too_late)
    LocalFile(str(tmp_path / "theirs" / "ours" / "x.parquet")).abandon()
    assert [path.name for path in tmp_path.rglob("*")] == ["theirs"]


@pytest.mark.usefixtures("kind")
def test_of_two_at_once_one_whole_file_stays(tmp_path: Path) -> None:
    target = tmp_path / "a" / "x.parquet"
    first, second = LocalFile(str(target)), LocalFile(str(target))
    first.write(b"first" * 1000)
    second.write(b"second")
    second.publish()
    first.publish()
    assert target.read_bytes() == b"first" * 1000
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_that_another_failed_run_removed_is_made_again(tmp_path: Path) -> None:
    target = tmp_path / "a" / "x.parquet"
    first, second = LocalFile(str(target)), LocalFile(str(target))
    second.write(b"whole")
    first.abandon()
    assert not target.parent.exists()
    second.publish()
    assert target.read_bytes() == b"whole"


@pytest.mark.usefixtures("kind")
def test_the_file_has_the_permissions_of_any_new_file_and_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.parquet", tmp_path / "link.parquet"
    link.symlink_to(real)
    before = os.umask(0o027)
    try:
        LocalFile(str(link)).publish()
    finally:
        os.umask(before)
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_a_link_that_leads_to_itself_is_no_place(tmp_path: Path) -> None:
    link = tmp_path / "x.parquet"
    link.symlink_to(link)
    with pytest.raises(OSError, match="symbolic links"):
        LocalFile(str(link))
    assert link.is_symlink()


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    target = tmp_path / "x.parquet"
    target.touch()
    target.chmod(0o600)
    group = next((group for group in os.getgroups() if group != os.getgid()), os.getgid())
    os.chown(target, -1, group)
    file = LocalFile(str(target))
    file.write(b"whole")
    file.publish()
    status = target.stat()
    assert (target.read_bytes(), stat.S_IMODE(status.st_mode), status.st_gid) == (b"whole", 0o600, group)


def test_who_may_not_give_a_file_its_old_group_replaces_it_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "x.parquet"
    target.touch()
    asked: list[int] = []

    def refused(_: int, owner: int, group: int) -> None:
        asked.extend((owner, group))
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchown", refused)
    file = LocalFile(str(target))
    file.write(b"whole")
    file.publish()
    assert target.read_bytes() == b"whole"
    assert asked == [-1, target.stat().st_gid]


def test_a_file_of_another_user_in_a_sticky_folder_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder for temporary files: it could be written beside it, but not be renamed to it."""
    target = tmp_path / "x.parquet"
    target.write_bytes(b"old")
    tmp_path.chmod(0o1777)
    assert Place(target).create().abandon() is None  # type: ignore[func-returns-value]
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(CohereInputError, match="the file is another user's"):
        Place(target).create()
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.parquet"]
    Place(tmp_path / "new.parquet").create().abandon()


def test_the_owner_of_a_sticky_folder_replaces_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "x.parquet"
    target.write_bytes(b"old")
    tmp_path.chmod(0o1777)
    owners, real = {tmp_path: 4321, target: 4322}, Path.stat

    def owned(path: Path, **options: Any) -> os.stat_result:
        status = real(path, **options)
        return os.stat_result([*status[:4], owners.get(path, status.st_uid), *status[5:10]])

    monkeypatch.setattr(Path, "stat", owned)
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    file = Place(target).create()
    file.write(b"new")
    file.publish()
    assert target.read_bytes() == b"new"


def test_a_file_that_is_mounted_by_itself_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Docker and Kubernetes mount one: no other can be renamed to it."""
    target = tmp_path / "x.parquet"
    target.write_bytes(b"old")
    monkeypatch.setattr(Path, "is_mount", lambda path: path == target)
    with pytest.raises(CohereInputError, match="the file is mounted by itself"):
        Place(target).create()
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("kind", [str, Path])
def test_a_relative_path_begins_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Callable[[str], Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    place = Place(kind("lake/x.parquet"))
    assert str(place) == str(tmp_path / "lake/x.parquet")
    file = place.create()
    file.write(b"whole")
    file.publish()
    assert (tmp_path / "lake/x.parquet").read_bytes() == b"whole"


def test_a_read_only_file_system_stays_one() -> None:
    assert is_permanent(OSError(errno.EROFS, "Read-only file system"))
    assert not is_permanent(OSError(errno.EIO, "Input/output error"))


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.parquet")
    with pytest.raises(CohereInputError, match="a device, a pipe or a socket, not a file"):
        Place(tmp_path / "x.parquet").create()
    assert stat.S_ISFIFO((tmp_path / "x.parquet").stat().st_mode)


@pytest.mark.parametrize("path", ["folder", "file/x.parquet", "file/sub/x.parquet", "/proc/lake/x.parquet", "n" * 300])
def test_a_place_that_cannot_be_written_is_found_at_once(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(CohereInputError, match="cannot be written") as raised:
        Place(tmp_path / path).create()
    assert str(raised.value).count("\n") == 0
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


_VICTIM = """
import sys, time
from airflow_provider_cohere_datasets.lake.files import LocalFile
file = LocalFile(sys.argv[1])
file.write(b"half" * 100000)
file._stream.flush()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="the platform has no files without a name")
def test_even_kill_9_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "x.parquet"
    target.write_bytes(b"old")
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", _VICTIM, str(target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    ) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"ready\n"
        victim.send_signal(signal.SIGKILL)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
