"""What the report says of the data: the card, the checks, and wording that fits how the images came."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from rankclip import files
from rankclip.errors import DataError
from rankclip.report.datasheet import verdict
from rankclip.report.spec import ReportSpec


def change_card(study, **changes) -> None:
    path = study.data / "shards" / "card.json"
    files.write_json(path, files.read_json(path) | changes)


def facts(page: str) -> dict[str, str]:
    """Terms and descriptions of the first list of facts."""
    (first,) = re.findall(r"<dl>(.*?)</dl>", page)[:1]
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", first))


def section(page: str, title: str) -> str:
    return page.split(f"<h2>{title}</h2>")[1].split("<section>")[0]


def test_the_data_card_is_on_the_page_with_nothing_read_as_markup(reported) -> None:
    told = facts(reported.page)
    assert told["source"] == "cc3m"
    assert told["licence"] == "toys &lt;may&gt; be played with"
    assert told["subset"] == "pairs 13, seed 7"
    assert told["input rows"] == "13"
    assert told["pairs"] == "7 (53.85 %)"
    assert told["others got"] == "60.0 % to 80.0 % of 13 rows (toy makers)"
    assert told["captions raw"] == "7 of 7 images"
    assert told["digest of pool"] == "b" * 64
    assert "digest of list" not in told
    assert "70,000" in section(reported.page, "Data")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("low: few of many", "banner"),
        ("high: nearly all", "banner"),
        ("another list: 3 of 4", "banner"),
        ("normal: as many", "check"),
        ("unknown: 3 of 4", "check"),
    ],
)
def test_the_verdict_on_survival_warns_where_it_is_out_of_range(words: str, kind: str) -> None:
    word, _, rest = words.partition(":")
    assert verdict(words) == f'<p class="{kind}"><strong>{word.capitalize()}</strong>:{rest}</p>'


def test_the_verdict_stands_on_the_page(reported) -> None:
    assert '<p class="banner"><strong>Low</strong>: 7 of 13 rows' in section(reported.page, "Data")


def test_a_check_that_removes_nothing_is_reported_with_the_rows_it_kept(reported) -> None:
    row = re.search(r'<th scope="row">leak</th>(.*?)</tr>', section(reported.page, "Data"))[1]
    assert re.findall(r">([^<]+)</td>", row) == ["1", "7.69 %", "1"]


def test_without_expectation_or_checks_nothing_is_made_up(study) -> None:
    change_card(study, expected=None, licence=None, flags={})
    rows = files.read_table(study.data / "ledger.parquet").drop_columns("flags")
    files.write_table(study.data / "ledger.parquet", rows)
    page = study.report()
    assert "others got" not in facts(page)
    assert facts(page)["licence"] == "not stated"
    assert "Rows that fail a check" not in page


def test_data_read_in_place_are_not_said_to_be_downloaded(study) -> None:
    rows = files.read_table(study.data / "ledger.parquet").to_pylist()
    files.write_table(
        study.data / "ledger.parquet", pa.Table.from_pylist([row | {"stage": "index"} for row in rows])
    )
    page = study.report()
    assert "Download report" not in page
    assert "crawled" not in section(page, "Data")
    assert "Nothing was downloaded" in section(page, "Index report")


def test_an_image_that_does_not_decode_leaves_its_place_on_the_sheet(study) -> None:
    path = study.data / "shards" / "00000.tar"
    index = files.read_table(study.data / "shards" / "index.parquet").to_pylist()
    blob = bytearray(path.read_bytes())
    blob[index[0]["offset"] : index[0]["offset"] + index[0]["size"]] = b"\0" * index[0]["size"]
    path.write_bytes(bytes(blob))
    page = study.report()
    assert page.count("<div>does not decode</div>") == 1
    assert page.count("<img ") == 6


def test_a_sheet_without_images_is_a_report_all_the_same(study) -> None:
    study.spec = ReportSpec(baseline="clip", contact_images=0)
    assert "0 of 7 training pairs" in study.report()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda study: (study.data / "shards" / "card.json").unlink(), r"card\.json is missing"),
        (
            lambda study: files.write_json(study.data / "shards" / "card.json", {"name": "toy"}),
            r"card\.json lacks source, licence",
        ),
        (lambda study: change_card(study, ok=6), r"card\.json says 6 of 13 rows, the ledger 7 of 13"),
        (lambda study: (study.data / "shards" / "00000.tar").unlink(), r"00000\.tar is missing"),
    ],
)
def test_a_card_that_is_missing_or_of_other_data_stops_the_report(study, spoil, words: str) -> None:
    spoil(study)
    with pytest.raises(DataError, match=words) as caught:
        study.report()
    assert "\n" not in str(caught.value)
    assert not study.out.exists()


def test_samples_in_another_order_than_the_ledgers_stop_the_report(study) -> None:
    rows = files.read_table(study.data / "ledger.parquet").to_pylist()
    rows[0]["key"], rows[1]["key"] = rows[1]["key"], rows[0]["key"]
    files.write_table(study.data / "ledger.parquet", pa.Table.from_pylist(rows))
    with pytest.raises(DataError, match="differ from sample 0 on"):
        study.report()
