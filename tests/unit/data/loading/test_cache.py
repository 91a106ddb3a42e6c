"""The bound holds for all data sets together, and nobody loses what he uses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rankclip.data.loading.cache import BOOKS, Cache, is_sealed, seal
from rankclip.errors import InputError, RunError

A, B, C = "a" * 16, "b" * 16, "c" * 16


def fill(claim: object, names: Iterable[str] | None = None) -> None:
    """Writes what a claim may hold."""
    for name in names or claim.names:  # type: ignore[attr-defined]
        (claim.folder / name).write_bytes(b"x" * claim.names[name])  # type: ignore[attr-defined]


def held(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_first_files_that_fit_are_claimed(tmp_path: Path) -> None:
    claim = Cache(tmp_path, BOOKS + 100).claim(A, {"1": 60, "2": 40, "3": 1, "4": 0})
    assert claim is not None
    assert list(claim.names) == ["1", "2"]


def test_who_comes_second_to_a_data_set_in_use_has_the_same_files(tmp_path: Path) -> None:
    wanted = {"1": 60, "2": 40}
    first = Cache(tmp_path, BOOKS + 70).claim(A, wanted)
    second = Cache(tmp_path, 10**6).claim(A, wanted)
    assert first is not None
    assert second is not None
    assert first.names == second.names == {"1": 60}
    first.close()
    third = Cache(tmp_path, 10**6).claim(A, wanted)
    assert third is not None
    assert third.names == {"1": 60}  # the second is still there
    second.close()
    third.close()
    last = Cache(tmp_path, 10**6).claim(A, wanted)
    assert last is not None
    assert last.names == wanted


def test_what_was_used_longest_ago_is_evicted_first_and_what_is_in_use_never(tmp_path: Path) -> None:
    for age, name in enumerate((B, A)):
        claim = Cache(tmp_path, 10**6).claim(name, {"1": 40})
        assert claim is not None
        fill(claim)
        claim.close()
        os.utime(tmp_path / name / ".lock", (1000 + age, 1000 + age))
    small = Cache(tmp_path, BOOKS + 100)  # room for one in use and one that is not
    third = small.claim(C, {"1": 40})
    assert third is not None
    assert third.names == {"1": 40}
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {A, C}
    late = small.claim(B, {"1": 40})
    assert late is not None
    assert late.names == {}
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {B, C}
    assert (tmp_path / C / ".lock").exists()


def test_what_a_smaller_claim_does_not_cover_is_deleted(tmp_path: Path) -> None:
    wanted = {"1": 50, "2": 50}
    claim = Cache(tmp_path, 10**6).claim(A, wanted)
    assert claim is not None
    fill(claim)
    (claim.folder / ".1.123.tmp").write_bytes(b"left by a killed process")
    claim.close()
    smaller = Cache(tmp_path, BOOKS + 50).claim(A, wanted)
    assert smaller is not None
    assert {path.name for path in smaller.folder.iterdir()} == {".lock", "room", "1"}


def test_folders_of_others_are_neither_counted_nor_deleted(tmp_path: Path) -> None:
    for name in ("photos", "0123456789abcdef", "d" * 17):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".lock").touch()
        (tmp_path / name / "picture").write_bytes(b"x" * 5000)
    (tmp_path / "photos" / "room").write_text("3")
    claim = Cache(tmp_path, BOOKS + 100).claim(A, {"1": 100})
    assert claim is not None
    assert claim.names == {"1": 100}
    assert len(list(tmp_path.glob("*/picture"))) == 3


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from([A, B, C]), st.integers(0, 30_000), st.lists(st.integers(0, 9000), max_size=4)
        ),
        max_size=8,
    )
)
def test_the_bound_holds_whatever_is_claimed_filled_and_given_back(
    tmp_path_factory: pytest.TempPathFactory, turns: list[tuple[str, int, list[int]]]
) -> None:
    folder, bound, open_claims = tmp_path_factory.mktemp("cache"), 40_000, {}
    for name, _, sizes in turns:
        if name in open_claims:
            open_claims.pop(name).close()
            continue
        claim = Cache(folder, bound).claim(name, {str(number): size for number, size in enumerate(sizes)})
        assert claim is not None
        fill(claim)
        open_claims[name] = claim
        assert held(folder) <= bound
        assert all((one.folder / each).exists() for one in open_claims.values() for each in one.names)


def test_a_claim_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from rankclip.data.loading.cache import Cache
claim = Cache(Path({str(tmp_path)!r}), {BOOKS + 100}).claim({A!r}, {{"1": 100}})
print(claim.names, flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    with other.stdout:
        assert other.stdout.readline() == "{'1': 100}\n"
        kept = Cache(tmp_path, BOOKS + 100).claim(B, {"1": 100})
        assert kept is not None
        assert kept.names == {}
        kept.close()
        other.kill()
        other.wait()
    claim = Cache(tmp_path, BOOKS + 100).claim(B, {"1": 100})
    assert claim is not None
    assert claim.names == {"1": 100}


def test_a_sealed_file_is_no_longer_whole_when_anybody_writes_to_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert not is_sealed(path)
    seal(path)
    assert (is_sealed(path), is_sealed(path, 3), is_sealed(path, 4)) == (True, True, False)
    path.write_bytes(b"abd")
    assert not is_sealed(path, 3)
    assert not is_sealed(tmp_path / "missing")


@pytest.mark.parametrize("text", ["many", "-1", "nan", "inf"])
def test_a_bound_that_is_no_number_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKCLIP_CACHE_GB", text)
    with pytest.raises(InputError, match=rf"RANKCLIP_CACHE_GB is '{text}'; set it to a number of GB"):
        Cache.of_environment()


def test_files_that_another_run_renames_are_no_error(tmp_path: Path) -> None:
    other = Cache(tmp_path, 10**6).claim(A, {"1": 60})
    assert other is not None
    (other.folder / ".1.tmp").symlink_to("renamed")  # listed, then not there
    claim = Cache(tmp_path, 3 * BOOKS).claim(B, {"1": 40})
    assert claim is not None
    assert claim.names == {"1": 40}


def test_a_claim_that_fails_leaves_the_data_set_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("rankclip.files.write_text", full)
        with pytest.raises(RunError, match=r"cannot be used \(.*Input/output error"):
            Cache(tmp_path, 10**6).claim(A, {"1": 60})
    opened = {path.resolve() for path in Path("/proc/self/fd").iterdir()}
    assert tmp_path / A / ".lock" not in opened
    claim = Cache(tmp_path, BOOKS + 40).claim(A, {"1": 40})
    assert claim is not None
    assert claim.names == {"1": 40}


def test_a_cache_that_cannot_be_written_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"^the cache .*file cannot be used \(.*set RANKCLIP_CACHE to"):
        Cache(tmp_path / "file", 100).claim(A, {"1": 1})
    assert Cache(tmp_path / "file", 0).claim(A, {"1": 1}) is None
