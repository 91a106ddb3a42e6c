"""The catalogue of public sets, and what keeps one from being read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import TypeAdapter

from rankclip import catalogue
from rankclip.data.benchmarks import BenchmarkSpec, judged, places, public
from rankclip.data.benchmarks.public import PublicBenchmark
from rankclip.data.benchmarks.public_sets import CLASS_TEXTS, SETS
from rankclip.evaluation.spec import EvaluationSpec

CONF = Path(__file__).parents[4] / "conf" / "evaluation"


def test_every_set_of_the_catalogue_can_be_chosen_and_no_other() -> None:
    assert set(get_args(PublicBenchmark.model_fields["name"].annotation)) == set(SETS)
    for name in SETS:
        chosen = TypeAdapter(BenchmarkSpec).validate_python({"name": name})
        assert (chosen.name, type(chosen), chosen.task) == (name, PublicBenchmark, SETS[name].task)


def test_the_catalogue_has_the_sets_of_both_papers() -> None:
    classification = {name for name, about in SETS.items() if about.task == "classification"}
    assert len(classification) == 20
    assert set(SETS) - classification == {"flickr30k", "mscoco_captions"}
    assert {name for name in SETS if SETS[name].classes == 1000} >= {"imagenet1k", CLASS_TEXTS}


@pytest.mark.parametrize("name", SETS)
def test_a_repository_is_named_as_clip_benchmark_names_it(name: str) -> None:
    about = SETS[name]
    assert about.repository == (f"clip-benchmark/wds_{name}" if not about.archive else "vaishaal/ImageNetV2")
    assert "/" not in name, "the name is part of a folder's"


def test_a_set_that_no_choice_may_be_made_on_has_no_validation_split() -> None:
    assert "val" not in PublicBenchmark.splits


def test_the_list_of_benchmarks_has_a_line_on_each() -> None:
    listed = dict(catalogue.benchmarks())
    assert all(listed[name] == about.line for name, about in SETS.items())
    assert set(judged.NAMES) <= set(listed)
    assert all(listed.values())


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_suite_of_conf_is_right_and_can_be_validated_on(path: Path) -> None:
    suite = EvaluationSpec.model_validate(yaml.safe_load(path.read_text()))
    assert any("val" in getattr(spec, "splits", ()) for spec in suite.benchmarks)


def test_the_largest_suite_has_every_set() -> None:
    suite = EvaluationSpec.model_validate(yaml.safe_load((CONF / "public.yaml").read_text()))
    assert set(suite.names) == {"digits", *SETS, *judged.NAMES}


def test_why_a_set_cannot_be_read_is_a_line_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKCLIP_BENCHMARKS", str(tmp_path))
    assert "fetch it with `rankclip data benchmarks pull food101`" in str(public.missing("food101"))
    (tmp_path / "wds_food101").mkdir()
    said = str(public.missing("food101"))
    assert "no record.json" in said
    assert "`rankclip data benchmarks verify --adopt food101`" in said
    assert str(public.missing("sugarcrepe")).startswith("sugarcrepe lacks ")
    for name in ("food101", "cars", "sugarcrepe"):
        assert str(tmp_path) not in str(public.missing(name)), "results depend on the digest of a manifest"


def test_sets_lie_in_one_absolute_folder_and_a_studys_own_with_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RANKCLIP_BENCHMARKS", raising=False)
    assert places.root() == tmp_path / "data" / "public"
    monkeypatch.setenv("RANKCLIP_BENCHMARKS", "elsewhere")
    assert places.listed("cars", Path("mine"), {"public": True}) == tmp_path / "elsewhere" / "wds_cars"
    assert places.listed("shape", Path("mine"), {}) == Path("mine/wds_shape")


def test_a_suite_is_known_without_torch_pyarrow_or_the_hub() -> None:
    heavy = ("torch", "pyarrow", "numpy", "huggingface_hub")
    code = f"import sys, rankclip.evaluation.spec; sys.exit(repr({heavy!r} & sys.modules.keys()))"
    code = code.replace(f"{heavy!r} &", f"set({heavy!r}) &")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "set()"
