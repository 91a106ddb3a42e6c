"""What others published, to stand beside our numbers.

Numbers compare only where the protocol is the same; each row says in words what theirs did otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from rankclip.errors import DataError
from rankclip.evaluation.published.spec import Row, Table

TABLES = Path(__file__).with_name("tables.yaml")

KARPATHY = frozenset({"five_captions", "all_captions"})
"""Karpathy's protocol with five captions an image and with all there are: on COCO 25,000 and 25,010."""


@dataclass(frozen=True)
class Published:
    """One published number."""

    method: str
    model: str
    """Architecture, by open_clip's name."""
    data: str
    """Pairs that it was trained on: `CC3M`, `CC3M 500K`, `LAION-2B`."""
    pretrained: str | None
    """open_clip's tag of the weights that were measured, where they are open_clip's."""
    origin: str | None
    """Whose released checkpoints have the number, as `rankclip import --from` calls them."""
    benchmark: str
    metric: str
    protocol: str
    """Ours that it is put beside."""
    value: float
    """In [0, 1], higher is better."""
    source: str
    theirs: str
    """What their protocol does otherwise; empty where it is ours."""
    note: str

    @property
    def label(self) -> str:
        """Method, architecture and data in a few words."""
        return f"{self.method}, {self.model}, {self.data}"


@functools.cache
def rows() -> tuple[Published, ...]:
    """Every published number that is known here, in the order of the file."""
    return tuple(read(TABLES))


def read(path: Path) -> list[Published]:
    """The numbers of a file of tables, in the form of `tables.yaml`.

    Raises:
        DataError: a table has another form, or a row another number of values than there are columns.
    """
    found: list[Published] = []
    for number, content in enumerate(yaml.safe_load(path.read_text(encoding="utf-8")), 1):
        try:
            table = Table.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "rows"
            raise DataError(f"{path}, table {number}, {where}: {first['msg']}; correct the file") from None
        found += (one for row in table.rows for one in _published(table, row))
    return found


def beside(
    benchmark: str,
    metric: str,
    protocol: str | None = None,
    *,
    model: str | None = None,
    data: str | None = None,
) -> list[Published]:
    """What was published of a metric of a benchmark, best first.

    Args:
        protocol: of ours; by default any.
        model: an architecture, whichever its activation; by default any.
        data: what it was trained on; by default anything.
    """
    found = [
        row
        for row in rows()
        if (row.benchmark, row.metric) == (benchmark, metric)
        and (protocol is None or row.protocol in same(protocol))
        and (model is None or _plain(row.model) == _plain(model))
        and (data is None or row.data == data)
    ]
    return sorted(found, key=lambda row: -row.value)


def same(protocol: str) -> tuple[str, ...]:
    """The names of a protocol, the one given first."""
    return (protocol, *sorted(KARPATHY - {protocol})) if protocol in KARPATHY else (protocol,)


def official(origin: str, model: str) -> list[Published]:
    """What was published of the released checkpoints of `origin`, as `rankclip import --from` has it."""
    return [row for row in rows() if row.origin == origin and _plain(row.model) == _plain(model)]


def _published(table: Table, row: Row) -> Iterator[Published]:
    for column, value in zip(table.columns, row.values, strict=True):
        if value is None:
            continue
        benchmark, metric, protocol = [*column.split(), table.protocol][:3]
        yield Published(
            row.method or table.method,
            row.model or table.model,
            row.data or table.data,
            row.pretrained,
            row.origin or table.origin,
            benchmark,
            metric,
            protocol,
            value / 100,
            table.source,
            table.theirs,
            row.note or table.note,
        )


def _plain(model: str) -> str:
    """The architecture without its activation, which published tables do not tell."""
    return model.removesuffix("-quickgelu")
