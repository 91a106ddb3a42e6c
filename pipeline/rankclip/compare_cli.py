"""The command `rankclip compare`. Nothing heavy is imported before it is called."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rankclip.errors import InputError

if TYPE_CHECKING:
    from rankclip.config import Study
    from rankclip.report.spec import ReportSpec

ROOT = Path()


def compare(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WHAT]...",
            help="Arms, folders of runs or of results, or KEY=VALUE of runs; by default every scored arm.",
        ),
    ] = None,
    study: Annotated[
        str | None, typer.Option(help="Whose arms and runs are meant; by default the active study.")
    ] = None,
    benchmarks: Annotated[
        str | None, typer.Option(help="Names with commas between; by default all that every column has.")
    ] = None,
    metric: Annotated[
        str, typer.Option(help="As the report names it: top1, top5, image_to_text_r1, ...")
    ] = "top1",
    split: Annotated[
        Literal["test", "val"], typer.Option(help="val: what settings may be chosen by.")
    ] = "test",
    baseline: Annotated[
        str | None, typer.Option(help="What differences are taken to; by default the report's baseline.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print every number as JSON instead.")] = False,
    csv: Annotated[
        Path | None, typer.Option(help="File for the rows, in the form of the report's ablation.csv.")
    ] = None,
) -> None:
    """Compare arms or runs that are scored: levels, and differences of equal seeds, with intervals.

    \b
    rankclip compare                                     # every arm of the active study
    rankclip compare clip rankclip --benchmarks shape,colour
    rankclip compare runs/shapes/clip/seed-0 runs/shapes/rankclip/seed-0
    rankclip compare objective=clip objective=rankclip train.lr=0.001   # runs that were trained so
    rankclip compare results/shapes results/shapes-controls --baseline clip
    rankclip compare scores/ours scores/theirs           # of `rankclip evaluate CHECKPOINT --out FOLDER`

    The statistics are those of the report: Student's t over seeds, differences of equal seeds, their variance
    pooled over all columns, p-values corrected for how many there are. Runs of two studies are compared on
    the sets that both measured on the same data.
    """
    import json

    from rankclip import files
    from rankclip.compare import chosen, comparison, output
    from rankclip.report import ablation

    asked = what or []
    source = _study(study, needed=not asked or not all(map(_is_folder, asked)))
    name = study or (source.study.name if source else None)
    arms = list(source.arms) if source else _scored(name)
    found = chosen.columns(ROOT, name, arms, asked)
    compared = comparison.compare(
        found,
        _spec(source, [each.name for each in found], baseline),
        metric=metric,
        split=split,
        benchmarks=[word for each in (benchmarks or "").split(",") if (word := each.strip())],
    )
    if csv is not None:
        files.write_text(csv, ablation.as_csv(compared.rows))
    if json_:
        typer.echo(json.dumps(output.as_json(compared), indent=2, ensure_ascii=False, allow_nan=False))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else output.NO_LIMIT
    for line in output.lines(compared, width):
        typer.echo(line)
    lacking = [arm for arm in arms if arm not in {each.arm for each in found}] if not asked else []
    if lacking:
        typer.echo(f"\nNot scored yet: {', '.join(lacking)}; run `rankclip repro`.")


def _is_folder(word: str) -> bool:
    return (ROOT / word).is_dir()


def _scored(study: str | None) -> list[str]:
    """Arms of a study that has results and is not in conf/."""
    return sorted(path.parent.name for path in (ROOT / "results").glob(f"{study}/*/results.parquet"))


def _study(name: str | None, *, needed: bool) -> Study | None:
    """The study whose arms are meant; None where none is needed or only its results are there.

    Raises:
        InputError: it is needed and does not exist.
    """
    from rankclip import composition, config

    if (ROOT / config.PARAMS).exists():
        active = config.load(ROOT / config.PARAMS)
        if name in (None, active.study.name):
            return active
    if name is None:
        return config.load(ROOT / config.PARAMS) if needed else None
    if _scored(name) and name not in composition.names("study", ROOT / composition.CONF):
        return None
    return composition.compose(name, (), ROOT / composition.CONF)


def _spec(study: Study | None, names: Sequence[str], baseline: str | None) -> ReportSpec:
    """The report's settings, for these columns.

    Raises:
        InputError: the baseline is none of them.
    """
    from rankclip.report.spec import ReportSpec

    if baseline is not None and baseline not in names:
        raise InputError(f"--baseline {baseline} is not compared here; choose {', '.join(names)}")
    if study is None:
        return ReportSpec(baseline=baseline or names[0])
    own = study.report
    base = baseline or (own.baseline if own.baseline in names else names[0])
    roles = {
        role: arm if arm in names and arm != base else None
        for role, arm in (("treatment", own.treatment), ("control", own.control))
    }
    return own.model_copy(update={"baseline": base, **roles})
