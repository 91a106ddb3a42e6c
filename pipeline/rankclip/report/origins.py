"""The section of the page about where the numbers come from: runs, digests, versions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rankclip.report import labels
from rankclip.report.content import Content
from rankclip.report.markup import cell, folded, section, table, text
from rankclip.report.runs import Run

FILES = "ablation.csv, ablation.md, control.csv, examples.csv, precision.csv, curves.csv, headline.json, "
FILES += "results.parquet"


def provenance(content: Content) -> str:
    """Runs, digests, commit and versions, and how to see more."""
    first, measured = content.runs[0].record, content.scores.measured
    versions = ", ".join(f"{name} {version}" for name, version in _mapping(first, "versions").items())
    commits = list(dict.fromkeys(_commit(run) for run in content.runs))
    facts = {
        "seeds": ", ".join(map(str, content.subject.seeds)),
        "git commit": ", ".join(commits),
        "versions": versions or labels.NONE,
        **{f"input {name}": value for name, value in _mapping(first, "inputs").items()},
        "test data": _once(f"{name} {how['data_digest']}"[:60] for (name, _), how in measured.items()),
        "precision": _once(how["precision"] or labels.NONE for how in measured.values()),
        "resizing": _once(how["resize"] or labels.NONE for how in measured.values()),
        "protocols": ", ".join(sorted({source.protocol for source in content.scores.sources.values()})),
        "see all runs": "make ui (MLflow: one run for each arm and seed, with its curves and parameters)",
        "numbers": FILES,
    }
    listed = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in facts.items())
    lines = "".join(_run(run, content) for run in content.runs)
    header = ["arm", "config", "checkpoint", "seed", "steps", "last loss", "logit scale"]
    body = f'<tbody class="set">{lines}</tbody>'
    return section("Provenance", f"<dl>{listed}</dl>", folded("Runs", table(header, [body], 3, "thin")))


def _run(run: Run, content: Content) -> str:
    digests = content.scores.digests[run.arm][run.seed]
    loss, scale = run.last("loss"), run.last("logit_scale")
    return (
        "<tr>"
        + cell(text(run.arm))
        + cell(f"<code>{text(digests['config_digest'] or labels.NONE)[:16]}</code>")
        + cell(f"<code>{text(digests['checkpoint_digest'] or labels.NONE)[:16]}</code>")
        + cell(str(run.seed), "n")
        + cell(f"{content.scores.steps[run.arm][run.seed]:,}", "n")
        + cell(labels.NONE if loss is None else f"{loss:.3f}", "n")
        + cell(labels.NONE if scale is None else f"{scale:.2f}", "n")
        + "</tr>"
    )


def _once(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def _commit(run: Run) -> str:
    commit = str(run.record.get("git_commit", "unknown"))[:12]
    return f"{commit} with changes not committed" if run.record.get("git_dirty") else commit


def _mapping(record: dict[str, Any], name: str) -> dict[str, Any]:
    value = record.get(name, {})
    return value if isinstance(value, dict) else {}
