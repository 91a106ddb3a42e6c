"""The page: one file that needs nothing else, no script and no request."""

from __future__ import annotations

from rankclip.report import benchmarks, datasheet, limits, origins, others, sections
from rankclip.report.content import Content
from rankclip.report.markup import text
from rankclip.report.style import CSS, arm_colours

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The browser is told to fetch nothing, whatever a caption may contain."""


def page(content: Content) -> str:
    """The report as HTML; equal content gives equal bytes."""
    colours = arm_colours(content.subject.arms, content.roles)
    body = [
        sections.top(content, colours),
        benchmarks.benchmarks(content, colours),
        limits.limits(content, colours),
        others.published(content),
        sections.training(content, colours),
        datasheet.data(content),
        datasheet.download(content),
        origins.provenance(content),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(content.subject.name)}: rankclip report</title>\n"
        f"<style>{CSS}</style></head>\n<body><main>\n" + "\n".join(body) + "\n</main></body></html>\n"
    )
