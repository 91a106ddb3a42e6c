"""The sections of the page about the data: the data card, some pairs, and what became of every input row."""

from __future__ import annotations

from collections.abc import Iterable

from rankclip.data.inspection import card
from rankclip.report import labels
from rankclip.report.contact_sheet import Thumbnail
from rankclip.report.content import Content
from rankclip.report.markup import cell, note, section, table, text

OK = "ok"
NOT_REMOVED = "Rows that fail a check of curate. Those that are kept are reported here and nothing else."


def data(content: Content) -> str:
    """The data card, and a contact sheet."""
    shown, total = len(content.sheet), content.tally.ok
    origin = "as they stand in the tars" if content.tally.indexed else "as crawled"
    words = f"{shown} of {total:,} training pairs, evenly spread, with their captions {origin}."
    sheet = "".join(_thumbnail(each) for each in content.sheet)
    return section(
        "Data",
        verdict(str(content.card["verdict"])),
        _facts(content),
        _quantiles(content),
        _checks(content),
        "<h3>Some of the pairs</h3>",
        note(words),
        f'<div class="sheet">{sheet}</div>',
    )


def download(content: Content) -> str:
    """Where every input row ended."""
    tally = content.tally
    most = max((line.rows for line in tally.lines), default=1)
    lines = "".join(
        f'<tr><th scope="row">{text(line.reason)}</th>'
        + cell(text(line.stage if line.reason != OK else labels.NONE))
        + cell(f"{line.rows:,}", "n")
        + cell(f"{100 * line.rows / tally.rows:.2f} %", "n")
        + cell(_bar(line.reason, line.rows / most), "wide")
        + "</tr>"
        for line in tally.lines
    )
    total = sum(line.rows for line in tally.lines)
    check = (
        f"{tally.rows:,} input rows = {total:,}, the sum of all reasons ({tally.ok:,} ok + "
        f"{total - tally.ok:,} left out); {content.card['samples']:,} samples in the shards."
    )
    words = "Every input row ends in exactly one reason, given by the stage that decided."
    if tally.indexed:
        words = "Nothing was downloaded: the tars were there and are read in place. " + words
    return section(
        "Index report" if tally.indexed else "Download report",
        note(words),
        table(["reason", "stage", "rows", "share", ""], [f'<tbody class="set">{lines}</tbody>'], 2, "thin"),
        f'<p class="check">✓ {text(check)}</p>',
    )


def verdict(words: str) -> str:
    """The sentence that compares the survival with that of others, warning where it is out of range."""
    word, colon, rest = words.partition(":")
    kind = "banner" if word in ("low", "high", "another list") else "check"
    said = f"<strong>{text(word.capitalize())}</strong>{text(colon + rest)}" if colon else text(words)
    return f'<p class="{kind}">{said}</p>'


def _facts(content: Content) -> str:
    told = card.facts(content.card)
    listed = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in told.items())
    return f"<dl>{listed}</dl>"


def _quantiles(content: Content) -> str:
    header, lines = card.quantiles(content.card)
    return table(header, [_body(lines)], 1, "thin")


def _checks(content: Content) -> str:
    tally, flags = content.tally, content.card["flags"]
    if not flags:
        return ""
    lines = [
        [check, f"{rows:,}", f"{100 * rows / tally.rows:.2f} %", f"{tally.kept.get(check, 0):,}"]
        for check, rows in flags.items()
    ]
    return note(NOT_REMOVED) + table(["check", "rows", "share", "of these kept"], [_body(lines)], 1, "thin")


def _body(lines: Iterable[list[str]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{text(name)}</th>' + "".join(cell(text(each), "n") for each in values) + "</tr>"
        for name, *values in lines
    )
    return f'<tbody class="set">{rows}</tbody>'


def _bar(reason: str, share: float) -> str:
    return f'<span class="bar {OK if reason == OK else "out"}" style="width:{100 * share:.2f}%"></span>'


def _thumbnail(each: Thumbnail) -> str:
    caption = text(each.caption)
    image = f'<img src="{text(each.uri)}" alt="{caption}" loading="lazy">'
    return (
        f"<figure>{image if each.uri else '<div>does not decode</div>'}"
        f'<figcaption title="{caption}">{caption}</figcaption></figure>'
    )
