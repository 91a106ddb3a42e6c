"""Contact sheets: which pictures are chosen, where each stands, and that no text crashes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from rankclip import files
from rankclip.data import tars
from rankclip.data.inspection import picked, preview, rows, sheet, stored
from rankclip.data.inspection.sheet import GAP, SIDE, Tile
from rankclip.errors import DataError, InputError
from tests.unit.data.crawled import encoded, rotated_by_exif
from tests.unit.data.inspection.finished import Row, lay_out, picture

RED, GREEN = (220, 30, 30), (30, 180, 30)


def plain(colour: tuple[int, int, int]) -> bytes:
    return encoded(Image.new("RGB", (64, 64), colour))


def shown(image: Image.Image, tile: int = 0, across: int = 0, width: int = SIDE) -> tuple[int, ...]:
    """The colour in the middle of a picture of the first row of a sheet."""
    x = GAP + tile * (width + GAP) + across * (SIDE + GAP // 2) + SIDE // 2
    return image.getpixel((x, GAP + 30 + SIDE // 2))


def is_like(colour: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(abs(a - b) < 12 for a, b in zip(colour, other, strict=True))


@given(st.integers(0, 300), st.integers(0, 60), st.integers(0, 5))
def test_positions_are_one_of_each_part_and_the_same_each_time(total: int, n: int, seed: int) -> None:
    chosen = picked.spread(total, n, seed)
    assert chosen == picked.spread(total, n, seed)
    assert len(chosen) == min(n, total)
    assert chosen == sorted(set(chosen))
    assert all(0 <= position < total for position in chosen)
    if n < total:
        parts = [(part * total // n, (part + 1) * total // n) for part in range(n)]
        assert all(low <= position < high for position, (low, high) in zip(chosen, parts, strict=True))


def test_another_seed_shows_others() -> None:
    assert picked.spread(10_000, 8, 0) != picked.spread(10_000, 8, 1)


def test_rows_are_read_from_whichever_group_has_them(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "many.parquet"
    parquet.write_table(pa.table({"a": range(25), "b": range(25)}), path, row_group_size=4)
    assert rows.at(path, [0, 3, 4, 11, 24], ["b"])["b"].to_pylist() == [0, 3, 4, 11, 24]
    assert len(rows.at(path, [], ["b", "a"])) == 0
    with pytest.raises(DataError, match="has 25 rows and none at 25"):
        rows.at(path, [1, 25], ["a"])


def test_pairs_of_the_shards_are_shown_with_their_captions(tmp_path: Path) -> None:
    data = lay_out(tmp_path, [Row(blob=plain(RED)), Row("dns", "download"), Row(blob=plain(GREEN))])
    image = preview.pairs(data, "toy", 9, 0)
    assert is_like(shown(image), RED)
    assert is_like(shown(image, 1), GREEN)
    (first, second) = picked.samples(data / "shards", [0, 1])
    assert (first.key, first.caption, second.key) == ("000000000", "a red circle", "000000002")


def test_a_sheet_is_the_same_each_time(tmp_path: Path) -> None:
    data = lay_out(tmp_path / "data")
    for name in ("a.png", "b.png"):
        preview.write(preview.pairs(data, "toy", 3, 0), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"


def test_without_shards_one_line_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"index\.parquet is missing; make it with `rankclip repro`"):
        preview.pairs(tmp_path, "toy", 9, 0)


@pytest.mark.parametrize("removed", [True, False])
def test_a_duplicate_stands_beside_what_it_is_like(tmp_path: Path, removed: bool) -> None:
    reason = "duplicate_near" if removed else "ok"
    detail = "caption of 3 characters; looks like 000000000 (2 bits differ)"
    like = Row(reason, blob=plain(GREEN), detail=detail, flags=("caption", "duplicate_near"))
    data = lay_out(tmp_path, [Row(blob=plain(RED)), Row(), like])
    image = preview.of_reasons(data, "toy", {"duplicate_near"}, 9, 0)
    assert is_like(shown(image), GREEN)
    assert is_like(shown(image, across=1), RED)


def test_a_leak_stands_beside_the_test_image(tmp_path: Path) -> None:
    with tars.writing(tmp_path / "benchmarks" / "wds_digits" / "test" / "0.tar") as tar:
        tar.add("000000000.cls", b"1")
        tar.add("000000007.png", encoded(Image.new("RGB", (9, 9), RED), "PNG"))
    leak = Row(blob=plain(GREEN), detail="same bytes as digits/test/000000007", flags=("leak",))
    image = preview.of_reasons(lay_out(tmp_path, [leak]), "toy", {"leak"}, 9, 0)
    assert is_like(shown(image), GREEN)
    x, y = GAP + SIDE + GAP // 2 + SIDE // 2, GAP + 30 + SIDE // 2
    assert is_like(image.getpixel((x, y)), RED)


def test_images_that_were_refused_are_read_from_the_crawl(tmp_path: Path) -> None:
    data = lay_out(tmp_path, [Row(), Row("too_small", blob=plain(RED)), Row("aspect", blob=plain(GREEN))])
    assert is_like(shown(preview.of_reasons(data, "toy", {"too_small"}, 9, 0)), RED)
    assert is_like(shown(preview.of_reasons(data, "toy", {"too_small", "aspect"}, 9, 0), 1), GREEN)


def test_rows_without_an_image_say_what_can_be_seen_of_them(tmp_path: Path) -> None:
    data = lay_out(tmp_path)
    with pytest.raises(InputError, match="no image was kept of the 3 rows with dns; `rankclip data ledger"):
        preview.of_reasons(data, "toy", {"dns"}, 9, 0)
    with pytest.raises(InputError, match="no row of toy has leak"):
        preview.of_reasons(data, "toy", {"leak"}, 9, 0)


def test_the_tars_of_the_crawl_may_be_gone(tmp_path: Path) -> None:
    data = lay_out(tmp_path)
    (data / "crawl" / "00000.tar").unlink()
    with pytest.raises(InputError, match="no image was kept of the 1 rows with too_small"):
        preview.of_reasons(data, "toy", {"too_small"}, 9, 0)
    preview.of_reasons(data, "toy", {"duplicate_near"}, 9, 0)


@pytest.mark.parametrize(
    ("detail", "reasons", "key"),
    [
        ("same bytes as 000000001", {"duplicate_exact"}, "000000001"),
        ("looks like a/b c.d (3 bits differ)", {"duplicate_near"}, "a/b c.d"),
        ("same bytes as 000000001", {"leak"}, ""),
        ("looks like digits/test/7 (0 bits differ)", {"leak"}, "7"),
        ("looks like digits/test/7 (0 bits differ)", {"duplicate_near"}, ""),
        ("200 x 20; same bytes as 5; same bytes as digits/test/7", {"duplicate_exact", "leak"}, "5"),
        ("", {"leak"}, ""),
        ("caption matches 'same bytes as x'", {"duplicate_exact"}, ""),
    ],
)
def test_the_partner_is_the_one_that_the_reason_is_about(
    tmp_path: Path, detail: str, reasons: set[str], key: str
) -> None:
    (tmp_path / "wds_digits" / "test").mkdir(parents=True)
    found, split = stored.partner(detail, reasons, tmp_path)
    assert found == key
    assert (split is not None) == (key == "7")


def test_a_damaged_tar_gives_what_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "0.tar"
    with tars.writing(path) as tar:
        tar.add("a.jpg", b"one")
        tar.add("b.json", b"{}")
        tar.add("b.jpg", b"two")
    path.write_bytes(path.read_bytes()[:1024] + b"damaged" * 300)
    with path.open("rb") as file:
        assert stored.members(file, {"a", "b"}) == {"a": b"one"}


def test_thumbnails_are_upright_small_and_none_for_what_does_not_decode() -> None:
    assert picked.thumbnail(rotated_by_exif(), 24).size == (24, 16)
    assert picked.thumbnail(encoded(Image.new("RGB", (2000, 1000))), 100).size == (100, 50)
    assert picked.thumbnail(encoded(Image.new("RGBA", (3, 2)), "PNG"), 100).size == (3, 2)
    assert picked.thumbnail(b"", 100) is None
    assert picked.thumbnail(picture(1)[:-40], 100) is None
    assert picked.thumbnail(b"\xff\xd8\xff\xe0 no image", 100) is None


def test_an_image_that_cannot_be_shown_leaves_its_place(tmp_path: Path) -> None:
    data = lay_out(tmp_path, [Row(blob=b"no image"), Row(blob=plain(RED))])
    assert is_like(shown(preview.pairs(data, "toy", 9, 0), 1), RED)


FONT = ImageFont.load_default(13)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=120))
def test_any_text_can_be_drawn(text: str) -> None:
    sheet.draw(text, [Tile((None,), text, text)])


@given(st.text(max_size=200), st.integers(20, 300), st.integers(1, 4))
@settings(deadline=None)
def test_lines_fit_and_are_no_more_than_asked(text: str, width: int, most: int) -> None:
    lines = sheet.wrapped(text, width, most, FONT)
    assert len(lines) <= most
    assert all(FONT.getlength(line) <= width or line == "…" for line in lines)


def test_a_short_text_is_drawn_whole_and_a_long_one_cut() -> None:
    assert sheet.wrapped(" a red  circle ", 300, 3, FONT) == ["a red circle"]
    lines = sheet.wrapped("word " * 100, 100, 3, FONT)
    assert len(lines) == 3
    assert lines[-1].endswith("…")
    assert not lines[0].endswith("…")


@pytest.mark.parametrize(
    "text",
    [
        "\u4f60\u597d " * 40,
        "\u0645\u0631\u062d\u0628\u0627",
        "\U0001f600\u200d",
        "\0\x1b[2J",
        "x" * 5000,
    ],
)
def test_texts_of_all_scripts_are_drawn(tmp_path: Path, text: str) -> None:
    preview.write(preview.pairs(lay_out(tmp_path, [Row(caption=text)]), "toy", 1, 0), tmp_path / "x.png")
    assert files.sha256(tmp_path / "x.png")


def test_an_empty_sheet_says_what_it_is_of() -> None:
    assert sheet.draw("toy: 0 of 0 pairs", []).width >= 400
