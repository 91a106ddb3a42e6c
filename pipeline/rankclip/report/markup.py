"""Small pieces of HTML. Every function escapes the text it is given unless its name says markup."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from rankclip.report import labels


def text(value: object) -> str:
    """Any value as escaped text; what cannot be seen in it is made visible."""
    return html.escape(labels.plain(str(value)))


def cell(markup: str, kind: str = "") -> str:
    """A table cell around markup; `kind` is its class, `n` for numbers."""
    return f'<td class="{kind}">{markup}</td>' if kind else f"<td>{markup}</td>"


def table(header: Sequence[str], bodies_markup: Iterable[str], numeric: int, kind: str = "") -> str:
    """A table in a frame that scrolls sideways on a narrow screen.

    Args:
        header: column names; those from column `numeric` on are numbers, aligned right.
        bodies_markup: `tbody` elements.
    """
    names = "".join(
        f'<th class="n" scope="col">{text(name)}</th>'
        if index >= numeric
        else f'<th scope="col">{text(name)}</th>'
        for index, name in enumerate(header)
    )
    opening = f'<table class="{kind}">' if kind else "<table>"
    return (
        f'<div class="scroll">{opening}<thead><tr>{names}</tr></thead>\n'
        + "\n".join(bodies_markup)
        + "</table></div>"
    )


def section(title: str, *markup: str) -> str:
    """A section of the page under its heading."""
    return f"<section><h2>{text(title)}</h2>\n" + "\n".join(markup) + "</section>"


def folded(summary: str, markup: str) -> str:
    """Markup that a reader opens when wanted."""
    return f"<details><summary>{text(summary)}</summary>{markup}</details>"


def note(words: str) -> str:
    """A paragraph in soft ink."""
    return f'<p class="soft">{text(words)}</p>'


def dot(arm: str, colour: str) -> str:
    """An arm's name behind its colour."""
    return f'<span class="dot" style="background:{colour}"></span>{text(labels.arm(arm))}'


def legend(colours: dict[str, str]) -> str:
    """The arms and their colours in a row."""
    return (
        '<div class="legend">' + "".join(f"<span>{dot(*each)}</span>" for each in colours.items()) + "</div>"
    )
