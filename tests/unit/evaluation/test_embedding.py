"""Images of a split become rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rankclip.data.benchmarks.benchmark import Sample
from rankclip.errors import DataError
from rankclip.evaluation import embedding, preparing
from rankclip.evaluation.embedding import embed_samples
from rankclip.evaluation.encoder import BATCH
from rankclip.evaluation.reference import NoiseEncoder
from rankclip.models import open_clip as door
from rankclip.models.spec import ModelSpec
from rankclip.models.trained import Encoder
from tests.unit.evaluation.known import Known


class Batched(NoiseEncoder):
    """Remembers its batches."""

    def __init__(self) -> None:
        super().__init__(dimensions=8)
        self.batches: list[list[bytes]] = []

    def image_features(self, prepared: Sequence[bytes]) -> Tensor:
        self.batches.append(list(prepared))
        return super().image_features(prepared)


def labelled(images: Sequence[bytes]) -> list[Sample]:
    return [Sample(f"s{number}", image, "png", number) for number, image in enumerate(images)]


def test_equal_images_are_encoded_once_and_get_equal_rows_in_the_order_of_the_files() -> None:
    encoder = Batched()
    rows = embed_samples(encoder, labelled([b"a", b"b", b"a", b"c", b"b"]), "set")
    assert encoder.batches == [[b"a", b"b", b"c"]]
    assert torch.equal(rows.features, NoiseEncoder(8).image_features([b"a", b"b", b"a", b"c", b"b"]))
    assert rows.keys == ("s0", "s1", "s2", "s3", "s4")
    assert rows.labels is not None
    assert rows.labels.tolist() == [0, 1, 2, 3, 4]
    assert rows.captions == ()


def test_images_go_to_the_model_in_order_and_in_full_batches() -> None:
    encoder, images = Batched(), [b"%d" % number for number in range(2 * BATCH + 3)]
    embed_samples(encoder, labelled(images), "set")
    assert [len(batch) for batch in encoder.batches] == [BATCH, BATCH, 3]
    assert [image for batch in encoder.batches for image in batch] == images


def test_a_split_is_never_whole_in_memory() -> None:
    read = 0
    seen: list[int] = []

    def coming() -> Iterator[Sample]:
        nonlocal read
        for sample in labelled([b"%d" % number for number in range(6 * BATCH)]):
            read += 1
            yield sample

    class Counting(NoiseEncoder):
        def image_features(self, prepared: Sequence[bytes]) -> Tensor:
            seen.append(read)
            return super().image_features(prepared)

    embed_samples(Counting(4), coming(), "set")
    assert len(seen) == 6
    assert all(known <= (1 + number) * BATCH + preparing.AHEAD for number, known in enumerate(seen))


def test_progress_counts_the_images_that_were_embedded() -> None:
    told: list[int] = []
    embed_samples(
        NoiseEncoder(4), labelled([b"%d" % number for number in range(BATCH + 1)]), "set", told.append
    )
    assert told == [BATCH, 1]


def test_a_corrupt_image_is_named_with_its_tar_and_key(known: Known) -> None:
    spec = ModelSpec(name="shapes-vit")
    encoder = Encoder(door.build(spec, seed=0), spec)
    damaged = [dataclasses.replace(sample, tar="1.tar") for sample in labelled([b"no png."])]
    with pytest.raises(DataError, match=r"wds_x/test/1\.tar: image s0: .*\(it is none of JPEG") as raised:
        embed_samples(encoder, damaged, "data/wds_x/test")
    assert "\n" not in str(raised.value)


def test_rows_that_are_of_no_use_are_named_with_their_split() -> None:
    class Diverged(NoiseEncoder):
        def image_features(self, prepared: Sequence[bytes]) -> Tensor:
            return super().image_features(prepared) * torch.nan

    with pytest.raises(DataError, match=r"data/wds_x/test: the model gives embeddings that are not finite"):
        embed_samples(Diverged(4), labelled([b"a"]), "data/wds_x/test")


def test_a_split_without_images_is_refused() -> None:
    with pytest.raises(DataError, match="set holds no images"):
        embed_samples(NoiseEncoder(4), [], "set")


def test_decoding_beside_the_model_changes_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = labelled([b"%d" % number for number in range(50)])
    rows = []
    for threads in (1, 8):
        monkeypatch.setattr(preparing, "threads", lambda threads=threads: threads)
        rows.append(embedding.embed_samples(NoiseEncoder(4), samples, "set").features)
    assert torch.equal(*rows)
