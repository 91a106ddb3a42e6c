"""Writes the world as a list of URLs, with the truth about each beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from rankclip import files
from rankclip.data.shapes.captions import Caption
from rankclip.data.shapes.latents import Latent
from rankclip.data.shapes.similarity import features
from rankclip.data.shapes.spec import SLOTS, ShapesSpec
from rankclip.data.shapes.world import World, generator

THING = pa.struct([(name, pa.int8()) for name in ("shape", "hue", "size", "cell", "fill")])
CLAIM = pa.struct([("thing", pa.int8()), ("attribute", pa.string()), ("value", pa.int8())])


def write_source(spec: ShapesSpec, folder: Path) -> Path:
    """Writes `captions.tsv` (CC3M's form), `latents.parquet` and `captions.parquet`; returns the TSV."""
    folder.mkdir(parents=True, exist_ok=True)
    world = World(spec)
    latents = [world.latent(index) for index in range(spec.images)]
    raw, told = zip(*[world.raw(index) for index in range(spec.images)], strict=True)
    texts = [{"raw": said, **world.slots(index)} for index, said in enumerate(raw)]
    urls = [world.url(index) for index in range(spec.images)]
    files.write_table(folder / "latents.parquet", latent_table(urls, latents, texts, told))
    columns = {slot: pa.array([text[slot].text for text in texts]) for slot in SLOTS}
    files.write_table(folder / "captions.parquet", pa.table({"url": pa.array(urls), **columns}))
    rows = [f"{text['raw'].text}\t{url}" for text, url in zip(texts, urls, strict=True)]
    path = folder / "captions.tsv"
    with files.replace(path) as beside:
        beside.write_text(
            "".join(f"{row}\n" for row in with_bad_rows(spec, rows)), encoding="utf-8", newline=""
        )
    return path


def latent_table(
    urls: list[str], latents: list[Latent], texts: list[dict[str, Caption]], told: Sequence[bool]
) -> pa.Table:
    """True attributes of each image, and the claims of each of its captions; values index `vocabulary`.

    The products of the unit vectors `latents` are how alike the images are (`similarity.features`).
    """
    things = [
        [{name: getattr(thing, name) for name in THING.names} for thing in lat.things] for lat in latents
    ]
    claims = {
        f"claims.{slot}": pa.array(
            [[vars(claim) for claim in text[slot].claims] for text in texts], pa.list_(CLAIM)
        )
        for slot in SLOTS
    }
    alike = features(latents)
    table = {
        "url": pa.array(urls),
        "latents": pa.FixedSizeListArray.from_arrays(pa.array(alike.ravel()), alike.shape[1]),
        "things": pa.array(things, pa.list_(THING)),
        "background": pa.array([latent.background for latent in latents], pa.int8()),
        "raw_is_true": pa.array(told),
        **claims,
    }
    return pa.table(table)


def with_bad_rows(spec: ShapesSpec, rows: list[str]) -> list[str]:
    """The rows, some of them repeated, with malformed ones strewn in."""
    rng = generator(spec.seed, "rows")
    repeated = rng.choice(len(rows), size=round(spec.duplicate_urls * len(rows)), replace=False)
    bad = [BAD_ROWS[k % len(BAD_ROWS)] for k in range(round(spec.bad_rows * len(rows)))]
    extra = [rows[k] for k in repeated] + bad
    places = np.sort(rng.integers(0, len(rows), size=len(extra)))
    result: list[str] = []
    taken = 0
    for place, row in zip(places, rng.permutation(np.array(extra, dtype=object)), strict=True):
        result += [*rows[taken:place], str(row)]
        taken = int(place)
    return result + rows[taken:]


BAD_ROWS = (
    "a caption without an address",
    "\thttp://shapes.invalid/images/no-caption.jpg",
    "a local file\tfile:///etc/hostname",
    "an old server\tftp://shapes.invalid/image.jpg",
    "too many\thttp://shapes.invalid/images/0.jpg\tcolumns",
    "an address that is none\tshapes dot invalid",
)
"""What lists from the web contain besides captions and addresses."""
