"""Tars of samples that the user has, in a folder or a bucket: read where they are, never changed."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from rankclip import storage
from rankclip.data.captions.slots import RAW
from rankclip.data.captions.spec import SlotName
from rankclip.data.sources.expected import Expected
from rankclip.errors import InputError
from rankclip.spec import Spec, digest

Member = Annotated[str, Field(pattern=r"^[^:./A-Z][^:/A-Z]*(:.+)?$")]
"""Part of a sample: the extension of a member in lower case, from the first dot of its name on, for example
`txt`, `url.txt`; or a field of a member that holds a JSON object, for example `json:caption`."""

ANY = "*.tar"
KEYS = ("__key__", "tar/__key__")


class WebdatasetSpec(Spec):
    """Files of one sample share their name up to its first dot and lie in one tar, as webdataset wants it."""

    name: Literal["webdataset"]

    place: Annotated[str, Field(min_length=1)]
    """A folder or s3://BUCKET/PREFIX."""

    tars: Annotated[str, Field(min_length=1)] = ANY
    """Which files below the place belong to the study: a pattern of names, in which * stands for anything,
    also a slash. Names that begin with a dot never do."""

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """Of the names and sizes of the tars, so that others are another study; `rankclip use` fills it in."""

    captions: dict[SlotName, Member] = Field(default_factory=lambda: {RAW: "txt"})
    """Slot -> where its captions are; a field of JSON may be a text or a list of texts. `raw` is required: a
    sample without such a caption is refused."""

    images: Annotated[tuple[Member, ...], Field(min_length=1)] = ("jpg", "jpeg", "png", "webp", "gif")
    """Extensions of members that are images; of several in a sample the one named first here counts."""

    key: Literal["__key__", "tar/__key__"] | Annotated[str, Field(pattern=r"^[^:/A-Z]+:.+$")] = "__key__"
    """What names a sample: the name of its files; the tar's name before it, where tars repeat names; or a
    field of JSON, for example `json:uid`. Of samples with one name the first is kept."""

    url: Member | None = None
    """Where the image is from; `null`: nothing in the tars says it."""

    expected: Expected | None = None
    """What these tars are known to hold; `null`: not known."""

    licence: str = "not stated; ask whoever published the tars"
    """On what terms images and captions may be used, in one line."""

    @model_validator(mode="before")
    @classmethod
    def _names_a_place(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("place") is None:
            raise ValueError(
                "source.place is missing; give the folder or s3://BUCKET/PREFIX of tars, source.place=PLACE"
            )
        return values

    @model_validator(mode="after")
    def _members_are_told_apart(self) -> Self:
        if RAW not in self.captions:
            raise ValueError(f"captions has no slot {RAW}; say where they are, for example {RAW}: txt")
        fields = [part(member) for member in (*self.captions.values(), self.url or "txt")]
        if self.key not in KEYS:
            fields.append(part(self.key))
        for member, field in fields:
            if field and not (member == "json" or member.endswith(".json")):
                raise ValueError(f"{member}:{field} is no field of a JSON member; write json:{field}")
        if any(part(image).field for image in self.images):
            raise ValueError(f"images {list(self.images)} names a field; give extensions, such as jpg")
        return self

    @property
    def has_latents(self) -> bool:
        """Of a stranger's images nobody knows how alike they are."""
        return False

    @property
    def slots(self) -> tuple[str, ...]:
        """What the tars hold; the study may join more."""
        return tuple(self.captions)

    @property
    def is_indexed(self) -> Literal[True]:
        """The images are at hand."""
        return True


class Part(NamedTuple):
    """A member of a sample, and the field of it, or empty."""

    member: str
    field: str


def part(reference: str) -> Part:
    """What a reference such as `txt` or `json:caption` means."""
    member, _, field = reference.partition(":")
    return Part(member, field)


def tars_of(store: storage.Store, pattern: str = ANY) -> dict[str, storage.Stat]:
    """Each tar of a place by its name, sorted; large and small letters of the pattern are alike.

    Raises:
        InputError: there is none.
        DataError, RunError: the place cannot be read.
    """
    there = store.stats("")
    chosen = {name: stat for name, stat in there.items() if fnmatchcase(name.lower(), pattern.lower())}
    if not chosen:
        found = f"; it has {len(there)} other files, the first is {next(iter(there))}" if there else ""
        raise InputError(
            f"source.place {store.place} has no {pattern}{found}; give the folder or the s3://BUCKET/PREFIX "
            "of uncompressed tars"
        )
    return chosen


def digest_of(place: str, tars: str = ANY) -> str:
    """Digest of the names and sizes of the tars of a place: 16 hexadecimal digits.

    Raises:
        InputError: it is no place, or has no such tars.
        DataError, RunError: it cannot be read.
    """
    return digest({name: stat.bytes for name, stat in tars_of(storage.store(place), tars).items()})
