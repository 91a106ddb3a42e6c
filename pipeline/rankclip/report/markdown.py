"""The ablation as a Markdown table for a terminal, a README or a pull request."""

from __future__ import annotations

from rankclip.report import labels
from rankclip.report.ablation import MEAN, Row
from rankclip.report.content import Content
from rankclip.report.sections import NO_CLAIM


def markdown(content: Content) -> str:
    """The headline and a row for each arm on each benchmark, percent and points."""
    subject = content.subject
    confidence = f"{100 * content.level:g} % interval"
    lines = [f"# {_escape(subject.name)}", "", _escape(subject.question), ""]
    lines += [] if subject.claims else [f"**{NO_CLAIM}**", ""]
    lines += [_escape(content.headline.sentence()), ""]
    lines += [_escape(content.headline.verdict()), ""] if subject.claims else []
    header = ["benchmark", "metric", "arm", "chance", "mean", "sd", confidence]
    header += [f"minus {_escape(labels.arm(content.roles.baseline))}", confidence]
    lines += ["| " + " | ".join(header) + " |", "|" + " --- |" * 3 + " ---: |" * 6]
    cells = list(dict.fromkeys((row.benchmark, row.metric) for row in content.main))
    ordered = sorted(content.main, key=lambda row: cells.index((row.benchmark, row.metric)))
    lines += [_line(row, content) for row in ordered]
    lines += [
        "",
        f"Percent and points on the test splits; {labels.count(len(subject.seeds), 'seed')}; differences ",
    ]
    lines[-1] += f"paired by seed; {confidence}s by Student's t over seeds, none for one seed."
    return "\n".join(lines) + "\n"


def _line(row: Row, content: Content) -> str:
    chance = content.chance.get((row.benchmark, row.metric))
    cells = [
        f"**{MEAN}**" if row.benchmark == MEAN else _escape(row.benchmark),
        _escape(labels.metric(row.metric)),
        _escape(labels.arm(row.arm)),
        labels.NONE if chance is None else labels.percent(chance),
        labels.percent(row.level.mean),
        labels.percent(row.level.sd),
        labels.interval(row.level),
        labels.percent(row.difference.mean, signed=True),
        labels.interval(row.difference, signed=True),
    ]
    return "| " + " | ".join(cells) + " |"


def _escape(text: str) -> str:
    """Text from outside without the signs that a table or HTML would read."""
    return labels.plain(text).replace("|", "\\|").replace("<", "&lt;")
