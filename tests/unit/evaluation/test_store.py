"""Each split is embedded once for a checkpoint, and what was kept is what was embedded."""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rankclip import files, versions
from rankclip.data.benchmarks import benchmark_folder
from rankclip.evaluation import conditions, row_files, store, suite
from rankclip.evaluation.embedded import Embedded
from rankclip.evaluation.known_texts import KnownTexts
from rankclip.evaluation.reference import NoiseEncoder
from rankclip.evaluation.scores import Scores
from rankclip.evaluation.store import Store, rows_folder
from rankclip.models.rounding import Rounding
from tests.unit.evaluation.known import CLASSES, TEMPLATES, Known, Pretended


class Once(NoiseEncoder):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(dimensions=8)
        self.images, self.texts = 0, 0

    def image_features(self, prepared: Sequence[bytes]) -> Tensor:
        self.images += len(prepared)
        return super().image_features(prepared)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        self.texts += len(texts)
        return super().encode_texts(texts)


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def values(scores: Scores) -> dict[tuple[str, str, str], float]:
    return {
        (row.benchmark, row.measured.metric, row.measured.protocol): row.measured.value for row in scores.rows
    }


def same(one: Embedded, other: Embedded) -> bool:
    assert (one.labels is None) == (other.labels is None)
    return (
        torch.equal(one.features, other.features)
        and (one.keys, one.captions, one.digest) == (other.keys, other.captions, other.digest)
        and (one.labels is None or other.labels is None or torch.equal(one.labels, other.labels))
    )


@pytest.mark.parametrize("name", ["letters", "pairs"])
def test_what_is_kept_is_what_was_embedded(known: Known, tmp_path: Path, name: str) -> None:
    folder = known.folder / f"wds_{name}"
    fresh = Store(NoiseEncoder(8)).embedded(folder, "test")
    for _ in range(2):
        again = Store(NoiseEncoder(8), tmp_path / "rows").embedded(folder, "test")
        assert same(fresh, again)
        assert torch.equal(fresh.texts(["a moon", "x"]), again.texts(["a moon", "x"]))


def test_a_second_call_asks_nothing_of_the_model(known: Known, tmp_path: Path) -> None:
    sets = {name: known.folder / f"wds_{name}" for name in ("letters", "pairs")}
    encoder, idle = Once(), Once()
    first = suite.evaluate(Store(encoder, tmp_path), sets, "test")
    assert (encoder.images, encoder.texts) == (24, len(CLASSES) * len(TEMPLATES) + 60)
    assert values(suite.evaluate(Store(idle, tmp_path), sets, "test")) == values(first)
    assert (idle.images, idle.texts) == (0, 0)


def test_sets_with_the_same_prompts_embed_them_once(known: Known, tmp_path: Path) -> None:
    encoder = Once()
    for split in ("val", "test"):
        suite.evaluate(Store(encoder, tmp_path), {"letters": known.folder / "wds_letters"}, split)
    assert (encoder.images, encoder.texts) == (24, len(CLASSES) * len(TEMPLATES))


@pytest.mark.parametrize("fault", ["cut", "changed", "empty", "nonsense"])
def test_a_damaged_file_is_said_and_embedded_again(
    known: Known, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = known.folder / "wds_letters"
    fresh = Store(NoiseEncoder(8), tmp_path).embedded(folder, "test")
    (path,) = kept(tmp_path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    broken = {"cut": content[:-100], "changed": content, "empty": b"", "nonsense": b"x" * 500}
    path.write_bytes(broken[fault])
    with caplog.at_level(logging.WARNING):
        assert same(fresh, Store(NoiseEncoder(8), tmp_path).embedded(folder, "test"))
    assert f"{path} is damaged" in caplog.text
    caplog.clear()
    assert same(fresh, Store(NoiseEncoder(8), tmp_path).embedded(folder, "test"))
    assert caplog.text == ""


def test_other_data_are_other_rows(known: Known, tmp_path: Path) -> None:
    folder = known.folder / "wds_letters"
    Store(NoiseEncoder(8), tmp_path).embedded(folder, "test")
    samples = list(benchmark_folder.read_split(folder, "test").samples)[::-1]
    benchmark_folder.write_split(folder, "test", samples)
    encoder = Once()
    Store(encoder, tmp_path).embedded(folder, "test")
    assert encoder.images == 12
    assert len(kept(tmp_path)) == 2


def test_rows_lie_under_all_that_they_depend_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def place(weights: str = "weights", device: conditions.Device = "cpu", **said: object) -> Path:
        model = Pretended(8)
        for name, value in said.items():
            setattr(model, name, value)
        return rows_folder(tmp_path, weights, model, device)

    first = place()
    assert place() == first
    half = Rounding("bf16", torch.device("cpu"))
    others = [place("others"), place(device="cuda"), place(form="b"), place(resize="b"), place(rounding=half)]
    assert len({first, *others}) == 6
    assert first.parent == tmp_path / "embeddings"
    with monkeypatch.context() as changed:
        changed.setattr(store, "EMBEDDING", store.EMBEDDING[:-1])
        assert place() != first
    monkeypatch.setattr(versions, "installed", lambda: {"torch": "1.0"})
    assert place() != first


def test_rows_that_cannot_be_kept_are_used_and_that_is_said(
    known: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*unused: object, **also: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = known.folder / "wds_letters"
    fresh = Store(NoiseEncoder(8)).embedded(folder, "test")
    monkeypatch.setattr(row_files, "save_file", full)
    with caplog.at_level(logging.WARNING):
        assert same(fresh, Store(NoiseEncoder(8), tmp_path / "rows").embedded(folder, "test"))
    assert "cannot be kept (" in caplog.text
    assert "No space left on device" in caplog.text
    assert list((tmp_path / "rows").iterdir()) == []


def test_the_sources_that_rows_depend_on_are_there() -> None:
    package = Path(files.__file__).parent
    assert [place for place in store.EMBEDDING if not (package / place).exists()] == []


def by_batch(texts: Sequence[str]) -> Tensor:
    """Rows that depend on what else is in the batch, as those of a real model do in their last bits."""
    return functional.normalize(
        torch.tensor([[float(len(text)), float(len(texts))] for text in texts]), dim=1
    )


def test_rows_of_texts_do_not_depend_on_what_is_asked_first() -> None:
    own = ["a", "bb", "ccc"]
    some, all_ = KnownTexts(by_batch, own), KnownTexts(by_batch, own)
    early = some(["bb"])
    assert torch.equal(all_(own)[1:2], early)
    assert torch.equal(some(own), all_(own))


def test_texts_of_a_task_are_embedded_once_and_equal_ones_are_equal() -> None:
    asked: list[list[str]] = []

    def encode(texts: Sequence[str]) -> Tensor:
        asked.append(list(texts))
        return by_batch(texts)

    texts = KnownTexts(encode, ["a"])
    rows = texts(["new", "a", "new", "other"])
    assert asked == [["a"], ["new", "other"]]
    assert torch.equal(rows[0], rows[2])
    assert texts(["other", "new"]).shape == (2, 2)
    assert len(asked) == 2


def test_a_split_without_texts_asks_for_one() -> None:
    with pytest.raises(ValueError, match="no texts were given"):
        KnownTexts(by_batch, [])([])
