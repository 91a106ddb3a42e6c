"""The measurements run, and say what they claim, on a few pairs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench import (
    crawling,
    data,
    data_faults,
    drawing,
    embeddings,
    indexing,
    ingesting,
    logit_scale,
    losses,
    memory,
    objectives,
    released,
    timing,
    web,
)
from tests.one_thread import one_thread

__all__ = ["one_thread"]

DOCS = Path(__file__).parents[2] / "docs"


def cells(table: str) -> list[str | float]:
    """The cells of a Markdown table, numbers as numbers."""
    found = (cell.strip() for line in table.splitlines() for cell in line.strip("|").split("|"))
    return [float(cell) if re.fullmatch(r"[+-]?[\d.]+", cell) else cell for cell in found]


def test_every_loss_that_is_timed_against_another_is_the_same_function() -> None:
    given = losses.inputs(24, 128, "cpu")
    torch.manual_seed(0)
    values = {name: make()(given).item() for name, make in losses.LOSSES.items()}
    assert values["clip"] == pytest.approx(values["open_clip ClipLoss"], rel=1e-5)
    assert values["siglip"] == pytest.approx(values["open_clip SigLipLoss"], rel=1e-5)
    assert values["rankclip"] == pytest.approx(values["rankclip, released code"], rel=1e-4)


def test_rows_of_one_worker_are_a_part_of_the_loss() -> None:
    given = losses.inputs(24, 16, "cpu")
    whole = losses.ours("rankclip")(given).item()
    assert 0 < losses.ours("rankclip", 6)(given).item() < 0.6 * whole


def test_a_little_of_every_measurement_runs() -> None:
    found = objectives.measure(objectives.QUICK, "cpu")
    assert {row["loss"] for row in found["time"]} == {objectives.OURS, objectives.RELEASED}
    assert all(row["extra_mib"] is not None for row in found["memory"])
    assert [row["batch_size"] for row in found["step"]] == [8]
    json.dumps(found)


def test_a_little_of_ingest_index_and_download_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "PHOTOS", 4)
    monkeypatch.setattr(crawling, "PROCESSES", 1)
    assert ingesting.measure(tmp_path, 500)["rows"] == 500
    found = indexing.measure(tmp_path / "index", 100, 2, rounds=1, rows=2 * indexing.PER_TAR)
    assert (found["tars"], found["joined"]["rows"]) == (2, 2 * indexing.PER_TAR)
    few = data.Plan(
        500, crawl_rows=40, hostile_rows=0, hostile_each=0, indexed=0, growth=(), loaded=0, rounds=1
    )
    assert data.download(few)["ours_to_bare"]["of_medians"] > 0


def test_what_a_kill_costs_is_counted_by_the_server(tmp_path: Path) -> None:
    with web.serving(8, 8) as port:
        web.write_list(tmp_path / "list.tsv", port, 2)
        url = (tmp_path / "list.tsv").read_text().split()[-1]
        before = web.asked(port)
        for times in (1, 3):
            for _ in range(times):
                urllib.request.urlopen(url).close()
            assert data_faults.extra(web.asked(port), before) == {1: 0, 3: 3}[times]


def test_a_tar_that_was_cut_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(__file__)
        end = tar.offset
    assert data_faults.whole(path)
    for length in (end // 2, end, end + tarfile.BLOCKSIZE):
        (tmp_path / "cut.tar").write_bytes(path.read_bytes()[:length])
        assert not data_faults.whole(tmp_path / "cut.tar"), length


HOLDS = """
import torch
from bench import losses, memory

def loss(inputs):
    held = torch.ones(64 << 20, dtype=torch.uint8)
    return inputs.image.sum() + inputs.scale * held[0]

print(memory.extra_bytes(loss, losses.inputs(8, 8, "cpu"), "cpu")[0])
"""


def test_memory_that_is_held_is_seen() -> None:
    # in a process of its own, as the benchmark measures: an older one may have the memory at hand already
    ended = subprocess.run(
        [sys.executable, "-c", HOLDS], cwd=memory.ROOT, capture_output=True, text=True, check=True
    )
    assert 0.95 < int(ended.stdout) / (64 << 20) < 1.2


def test_what_does_not_fit_is_not_run() -> None:
    row = memory.measured(objectives.RELEASED, memory.Case(1 << 20, 512), "cpu", 1)
    assert row.extra_mib is None
    assert row.note.startswith("not run: it needs about")


def test_what_fails_says_why() -> None:
    row = memory.measured("clip", memory.Case(1, 8), "cpu", 1)
    assert row.extra_mib is None
    assert "nothing to compare" in row.note


def test_ratios_are_of_the_same_round() -> None:
    found = timing.ratio({"a": [2.0, 4.0, 6.0], "b": [1.0, 1.0, 3.0]}, "a", "b")
    assert (found.of_medians, found.least, found.most) == (4.0, 2.0, 4.0)


def test_targets_are_named_with_what_was_found() -> None:
    ratio = timing.Ratio(3.5, 3.0, 4.0)
    times = [objectives.Time(objectives.RELEASED, memory.Case(4096, 512), 1.0, 1.0, 1.0, ratio)]
    needs = [
        memory.Memory(name, memory.Case(4096, 512), extra, 1.0)
        for name, extra in ((objectives.RELEASED, 2000.0), (objectives.OURS, 50.0))
    ]
    found = objectives.targets(times, needs, [])
    assert list(found.values()) == [{"at_least": 3.0, "found": 3.5}, {"at_least": 20.0, "found": 40.0}]


def test_the_plot_of_the_losses_is_drawn(tmp_path: Path) -> None:
    case = {"size": 32, "width": 512, "alpha": 14.0, "rows": None}
    rows = {
        "machine": {"threads": 2},
        "time": [{"loss": "clip", "case": case, "median_s": 0.1}],
        "memory": [{"loss": "clip", "case": case, "extra_mib": 3.0}],
    }
    drawing.losses({"memory": "how", "cpu": rows}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000


def test_embeddings_have_the_cosines_they_are_asked_for() -> None:
    image, text = embeddings.pairs(256, 512, mean=0.4, agreement=0.7)
    off = ~torch.eye(256, dtype=torch.bool)
    assert (image @ image.T)[off].mean() == pytest.approx(0.4, abs=0.01)
    assert (image @ text.T)[off].mean() == pytest.approx(0.4, abs=0.01)
    assert (image * text).sum(1).mean() == pytest.approx(0.4 + 0.6 * 0.7, abs=0.01)


@pytest.mark.parametrize(("kind", "broken_at"), [("in-modal", 60.0), ("cross-modal", 100.0)])
def test_the_released_gradient_is_right_at_first_and_lost_at_last(kind: str, broken_at: float) -> None:
    found = [
        [released.find(kind, alpha, 0.4, 512, name, size=32) for name in ("exact", "released")]
        for alpha in (14.3, broken_at)
    ]
    cosines = [released.cosine(exact.scores, code.scores) for exact, code in found]
    assert cosines[0] > 0.999
    assert cosines[1] < 0.1
    assert found[0][0].swamped == 0.0
    assert found[1][0].swamped > 0.9


def test_the_released_defect_is_drawn_and_tabled(tmp_path: Path) -> None:
    released.draw(tmp_path / "plot.png", widths=(16,), alphas=(10, 100), size=16)
    assert (tmp_path / "plot.png").stat().st_size > 5000
    assert len(released.table((14.3, 100), size=16).splitlines()) == 6


def test_an_uninformed_ranking_always_makes_alpha_smaller() -> None:
    image, text = embeddings.pairs(64, 64, 0.1, 0.7)
    shuffled = logit_scale.terms(64)["rank_in, shuffled"]
    assert all(logit_scale.pull(shuffled, image, text, alpha) > 0 for alpha in (5.0, 20.0, 100.0))


def test_a_swamped_list_pulls_with_alpha_itself() -> None:
    image, text = embeddings.pairs(64, 512, 0.1, 0.7)
    found = logit_scale.pull(logit_scale.terms(64)["rank_in, released"], image, text, 100.0)
    assert found == pytest.approx(100 * 0.9, rel=0.03)


def test_curves_of_runs_become_a_table_and_a_plot(tmp_path: Path) -> None:
    for arm, seed, alpha in (("clip", 0, 14.0), ("clip", 1, 16.0), ("rankclip", 0, 13.0), ("mine", 0, 12.0)):
        folder = tmp_path / arm / f"seed-{seed}"
        folder.mkdir(parents=True)
        lines = [{"step": 10, "logit_scale": 14.3}, {"step": 20, "logit_scale": alpha, "val/mean_top1": 0.5}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = logit_scale.curves(tmp_path)
    assert list(found) == ["clip", "rankclip", "mine"]
    table = logit_scale.results(found).splitlines()
    assert table[2].startswith("| `clip` | 2 | 15.0 (14.0 to 16.0) | 50.0 (50.0 to 50.0) | – |")
    logit_scale.draw(found, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("page", "make"), [("method.md", released.table), ("logit_scale.md", logit_scale.pulls)]
)
def test_the_table_of_a_page_is_what_its_command_prints(page: str, make: Callable[[], str]) -> None:
    table, text = make(), (DOCS / page).read_text()
    shown = text[text.index(table.splitlines()[0]) :].split("\n\n")[0]
    for told, found in zip(cells(shown), cells(table), strict=True):
        assert told == (pytest.approx(found, abs=0.02, rel=0.01) if isinstance(found, float) else found)
