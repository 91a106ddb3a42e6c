"""The ablation as a Markdown table for a terminal, a README or a pull request."""

from __future__ import annotations

from rankclip.report import labels, verdict
from rankclip.report.ablation import MEAN, Row
from rankclip.report.content import Content
from rankclip.report.noise import NAMES
from rankclip.report.sections import NO_CLAIM


def markdown(content: Content) -> str:
    """The headline, a row for each arm on each benchmark, and what is inside the noise."""
    subject, headline = content.subject, content.headline
    lines = [f"# {_escape(subject.name)}", "", _escape(subject.question), ""]
    lines += [] if subject.claims else [f"**{NO_CLAIM}**", ""]
    lines += [f"**{_escape(verdict.verdict(headline))}**", ""] if subject.claims else []
    lines += [_escape(verdict.sentence(headline)), ""]
    lines += [verdict.detects(headline), ""] if verdict.detects(headline) else []
    header = ["benchmark", "metric", "protocol", "arm", "chance", "mean", "sd", content.confidence]
    header += [f"minus {_escape(labels.arm(content.roles.baseline))}", content.confidence, "p, corrected"]
    lines += ["| " + " | ".join(header) + " |", "|" + " --- |" * 4 + " ---: |" * 7]
    cells = list(dict.fromkeys((row.benchmark, row.metric) for row in content.main))
    ordered = sorted(content.main, key=lambda row: cells.index((row.benchmark, row.metric)))
    lines += [_line(row, content) for row in ordered]
    lines += ["", _caption(content)]
    for title, notes in (
        ("Inside the noise", content.warnings),
        (
            "Not measured",
            [f"{name}: {why}" for name, why in content.sets.missing.items()] + content.lacking,
        ),
    ):
        lines += ["", f"## {title}", "", *(f"- {_escape(note)}" for note in notes)] if notes else []
    return "\n".join(lines) + "\n"


def _caption(content: Content) -> str:
    bold = f"bold ones stand after correction for how many there are ({NAMES[content.spec.correction]})"
    if content.spec.correction == "none":
        bold = "bold ones leave zero out, each by itself: among many, some do so by chance"
    return (
        f"Percent and points on the test splits; {labels.count(len(content.subject.seeds), 'seed')}; "
        f"{content.confidence}s by Student's t over seeds, none for one seed. Differences are of equal "
        f"seeds, their variance pooled over all arms; {bold}."
    )


def _line(row: Row, content: Content) -> str:
    chance = content.chance.get((row.benchmark, row.metric))
    difference = labels.value(row.difference.mean, row.source, signed=True)
    cells = [
        f"**{MEAN}**" if row.benchmark == MEAN else _escape(row.benchmark),
        _escape(labels.metric(row.source.metric)),
        _escape(labels.protocol(row.source.protocol)),
        _escape(labels.arm(row.arm)),
        labels.NONE if chance is None else labels.percent(chance),
        labels.value(row.level.mean, row.source),
        labels.value(row.level.sd, row.source),
        labels.interval(row.level, source=row.source),
        f"**{difference}**" if row.sure else difference,
        labels.interval(row.difference, signed=True, source=row.source),
        labels.probability(row.p_adjusted),
    ]
    return "| " + " | ".join(cells) + " |"


def _escape(text: str) -> str:
    """Text from outside without the signs that a table or HTML would read."""
    return labels.plain(text).replace("|", "\\|").replace("<", "&lt;")
