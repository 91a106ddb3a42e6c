"""Make the report of a study from the stages' files."""

from __future__ import annotations

import os
from pathlib import Path

from rankclip import files
from rankclip.evaluation import published
from rankclip.evaluation.published import Published
from rankclip.report import (
    ablation,
    comparison,
    contact_sheet,
    examples,
    markdown,
    noise,
    page,
    precision,
    runs,
    scores,
    sets,
)
from rankclip.report.content import Content
from rankclip.report.scores import Subject
from rankclip.report.spec import ReportSpec

LATEST = ("index.html", "ablation.csv", "ablation.md")
"""Files that the folder above the report points to, so that the newest is always at the same place."""


def run(
    spec: ReportSpec,
    subject: Subject,
    *,
    results: Path,
    runs_folder: Path,
    ledger: Path,
    shards: Path,
    benchmarks: Path,
    out: Path,
) -> None:
    """Write the tables, the curves and the page of `subject` into `out`, `index.html` last.

    Args:
        results: holds `<arm>/results.parquet` and `<arm>/predictions.parquet`.
        runs_folder: holds `<arm>/seed-<k>/metrics.jsonl` and `record.json`.
        ledger: `ledger.parquet` with `ledger.json` beside it.
        shards: the folder with `index.parquet` and `card.json`.
        benchmarks: holds `manifest.json`: the classes of each benchmark, and those that were not there.
        out: folder of the report; its parent gets links to the files of `LATEST`.

    Raises:
        InputError: the study has no arms or seeds.
        DataError: something that the report needs is missing, damaged or disagrees; nothing is written.
    """
    merged = scores.read_results(results, subject)
    content = gather(
        spec,
        subject,
        scores.read_scores(merged, subject, spec.headline_protocol),
        results=results,
        runs_folder=runs_folder,
        ledger=ledger,
        shards=shards,
        benchmarks=benchmarks,
    )
    texts = {
        "ablation.csv": ablation.as_csv(content.table),
        "ablation.md": markdown.markdown(content),
        "control.csv": ablation.as_csv(content.control),
        "examples.csv": examples.as_csv(content.examples),
        "precision.csv": precision.as_csv(content.precision),
        "curves.csv": runs.as_csv(content.runs),
        "index.html": page.page(content),
    }
    files.write_table(out / "results.parquet", merged)
    files.write_json(out / "headline.json", content.headline.as_json())
    for name, text in texts.items():
        files.write_text(out / name, text)
    point_to(out)


def gather(
    spec: ReportSpec,
    subject: Subject,
    measured: scores.Scores,
    *,
    results: Path,
    runs_folder: Path,
    ledger: Path,
    shards: Path,
    benchmarks: Path,
) -> Content:
    """Everything that the report shows; arguments and errors as in `run`."""
    from rankclip.data.inspection import agreement, card, tally

    roles = ablation.Roles(spec.baseline, spec.treatment, spec.control)
    told, counted = card.read(shards), tally.of_ledger(ledger)
    agreement.require_same_samples(ledger, shards / "index.parquet")
    agreement.require_same_counts(told, counted, shards)
    found = sets.read_sets(benchmarks)
    compared = comparison.compare(spec, roles, subject, measured, results)
    return Content(
        subject=subject,
        spec=spec,
        roles=roles,
        scores=measured,
        sets=found,
        headline=compared.headline,
        table=compared.table,
        control=compared.control,
        chance=sets.chance_levels(found, measured),
        examples=compared.examples,
        precision=precision.measure(compared.models, compared.table, spec),
        published=others(measured),
        warnings=list(noise.warnings(compared.table, compared.examples, spec, roles.baseline)),
        runs=runs.read_runs(runs_folder, subject, measured),
        tally=counted,
        card=told,
        sheet=contact_sheet.contact_sheet(shards, spec.contact_images),
    )


def others(measured: scores.Scores) -> list[tuple[scores.Cell, Published]]:
    """What was published of the cells that are measured here, in their order."""
    return [
        (cell, each)
        for cell, source in measured.sources.items()
        for each in published.beside(cell[0], source.metric, source.protocol)
    ]


def point_to(out: Path) -> None:
    """Make the folder above `out` point to the files of `LATEST` in it, each link replaced at once."""
    for name in LATEST:
        link = out.parent / name
        temporary = link.with_name(f".{name}.{os.getpid()}.tmp")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(Path(out.name) / name)
        temporary.replace(link)
