"""The index of a folder of shards: where each sample lies and what is said of it, for any number of samples.

No Python object is kept for a sample. A small index lies in memory. A large one is written once as an Arrow
file, which every process maps: its pages are shared, and the system takes those back that nobody looks at.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar, overload

import pyarrow as pa
import pyarrow.compute as pc

from rankclip import files
from rankclip.data.captions.slots import PREFIX
from rankclip.data.loading.cache import seal
from rankclip.errors import DataError

REMEDY = "make it again with `dvc repro -f -s shard`, or `-s index` for tars of your own"

CHUNK = 1 << 16
"""Rows of every batch of columns but the last, so that a row's batch follows from its number."""

SMALL_BYTES = 32 << 20
"""Size of index.parquet up to which it is held in memory; it becomes about three times as large there."""

PLACES = pa.schema({"key": pa.string(), "shard": pa.int32(), "offset": pa.int64(), "size": pa.int64()})

T = TypeVar("T")


class Place(NamedTuple):
    """A piece of a tar."""

    tar: int
    """The number of the tar."""
    offset: int
    size: int


class Column(Sequence[T]):
    """A column of Arrow arrays of `CHUNK` rows each; a value becomes a Python object when it is asked for."""

    def __init__(self, chunks: Sequence[pa.Array]) -> None:
        self._chunks = chunks
        self._length = sum(map(len, chunks))

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, i: int) -> T: ...

    @overload
    def __getitem__(self, i: slice) -> list[T]: ...

    def __getitem__(self, i: int | slice) -> T | list[T]:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(self._length))]
        row = range(self._length)[i]  # counts from the end where negative, and refuses what is beyond
        value: T = self._chunks[row // CHUNK][row % CHUNK].as_py()
        return value

    def __iter__(self) -> Iterator[T]:
        return itertools.chain.from_iterable(chunk.to_pylist() for chunk in self._chunks)


class Captions(Column[list[str]]):
    """The captions of a slot, a list for every sample."""

    @property
    def missing(self) -> int:
        """How many samples have no caption."""
        return sum(pc.sum(pc.equal(pc.list_value_length(chunk), 0)).as_py() for chunk in self._chunks)


class Index:
    """The columns of an index that are needed at random.

    Args:
        path: index.parquet.
        shards: names of the shards; a sample's is known by its number among them.
        mapped: the Arrow file that `convert` made of it; None to hold the columns in memory.

    Raises:
        DataError: the index cannot be read or names a shard that is not among `shards`.
    """

    def __init__(self, path: Path, shards: Sequence[str], mapped: Path | None = None) -> None:
        self._made_of = path, shards, mapped
        self._batches = _in_memory(path, shards) if mapped is None else _mapped(mapped)
        self._places = [
            tuple(batch.column(name).to_numpy() for name in ("shard", "offset", "size"))
            for batch in self._batches
        ]
        self._captions: dict[str, Captions] = {}
        self.keys: Column[str] = Column([batch.column("key") for batch in self._batches])
        """`[n]`, in order of rows."""

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), self._made_of  # another process reads, or maps, for itself

    def __len__(self) -> int:
        return len(self.keys)

    def captions(self, slot: str) -> Captions:
        """`[n]` lists of captions of a slot that there is."""
        if slot not in self._captions:
            self._captions[slot] = Captions([batch.column(PREFIX + slot) for batch in self._batches])
        return self._captions[slot]

    def place(self, i: int) -> Place:
        """Where the image of sample `i` lies."""
        shards, offsets, sizes = self._places[i // CHUNK]
        row = i % CHUNK
        return Place(int(shards[row]), int(offsets[row]), int(sizes[row]))

    @property
    def slots(self) -> list[str]:
        """Names of the caption slots."""
        return _slots(self._batches[0].schema.names)


def _slots(names: Iterable[str]) -> list[str]:
    return [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]


def mapped_bytes(path: Path, shards: Sequence[str], n: int) -> int:
    """How large the Arrow file of an index of `n` samples is at most, judged by its first batch."""
    first = next(_batches(path, shards), None)
    return 0 if first is None else int(1.3 * first.nbytes / len(first) * n) + (1 << 20)


def convert(path: Path, shards: Sequence[str], mapped: Path, limit: int) -> bool:
    """Makes the Arrow file of an index, atomically and sealed; False where it has more than `limit` bytes.

    Raises:
        DataError: the index cannot be read or names a shard that is not among `shards`.
    """
    try:
        with files.replace(mapped) as temporary:
            with pa.ipc.new_file(str(temporary), _schema(path)) as sink:
                for batch in _batches(path, shards):
                    sink.write(batch)
                    _require(temporary.stat().st_size <= limit)
            _require(temporary.stat().st_size <= limit)
            seal(temporary)
    except _TooLargeError:
        return False
    return True


class _TooLargeError(Exception):
    """There is no room for the file."""


def _require(fits: bool) -> None:
    if not fits:
        raise _TooLargeError


def _mapped(path: Path) -> list[pa.RecordBatch]:
    file = pa.ipc.open_file(pa.memory_map(str(path)))
    return [file.get_batch(number) for number in range(file.num_record_batches)]


def _in_memory(path: Path, shards: Sequence[str]) -> list[pa.RecordBatch]:
    return list(_batches(path, shards)) or [pa.RecordBatch.from_pylist([], _schema(path))]


def _schema(path: Path) -> pa.Schema:
    captions = {PREFIX + slot: pa.list_(pa.string()) for slot in _slots(files.column_names(path, REMEDY))}
    return pa.schema([*PLACES, *pa.schema(captions)])


def _batches(path: Path, shards: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The columns in batches of `CHUNK` rows, shards by their number."""
    schema, known = _schema(path), pa.array(shards, pa.string())
    held = schema.empty_table()
    for table in files.read_batches(path, schema.names, REMEDY, CHUNK):
        numbers = pc.index_in(table["shard"], value_set=known)
        if numbers.null_count:
            name = table["shard"].filter(pc.is_null(numbers))[0]
            raise DataError(f"{path} names the shard {name}, which manifest.json does not; {REMEDY}")
        place = table.schema.get_field_index("shard")
        told = table.set_column(place, "shard", numbers).select(schema.names)
        held = pa.concat_tables([held, _filled(told, schema)])
        while len(held) >= CHUNK:
            yield _batch(held.slice(0, CHUNK))
            held = held.slice(CHUNK)
    if len(held):
        yield _batch(held)


def _filled(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table in this schema, without nulls among its lists."""
    for number, field in enumerate(table.schema):
        if field.name.startswith(PREFIX) and table[number].null_count:
            lists = pc.if_else(pc.is_valid(table[number]), table[number], pa.scalar([], field.type))
            table = table.set_column(number, field.name, lists)
    return table.cast(schema)


def _batch(table: pa.Table) -> pa.RecordBatch:
    (batch,) = table.combine_chunks().to_batches()
    return batch
