from __future__ import annotations

import pyarrow as pa
import pytest

from rankclip.data.captions import texts

SAID = {
    "Two. Sentences": ["Two.", "Sentences"],
    "At 3.5 m in the U.S.A it rains": ["At 3.5 m in the U.S.A it rains"],
    'He said "Stop!" Then nothing?': ['He said "Stop!"', "Then nothing?"],
    "One.\n\n- Two\r\n- Three. Four": ["One.", "- Two", "- Three.", "Four"],
    "The end.</s>": ["The end."],
    "Wait... what": ["Wait...", "what"],
    " . ": ["."],
    "": [],
}


@pytest.mark.parametrize(("text", "sentences"), SAID.items())
def test_a_caption_is_split_into_its_sentences(text: str, sentences: list[str]) -> None:
    column = pa.chunked_array([[None, text], [text]])
    assert texts.lists([column], "sentences").to_pylist() == [[], sentences, sentences]


def test_lines_are_split_at_line_breaks_alone() -> None:
    column = pa.chunked_array([["One. Two.</s>\r\n\n Three "]])
    assert texts.lists([column], "lines").to_pylist() == [["One. Two.</s>", "Three"]]


def test_columns_of_texts_and_of_lists_are_put_together_row_by_row() -> None:
    one = pa.chunked_array([["a", None, ""]])
    many = pa.chunked_array([[["b", " c "], None], [["d", None, ""]]])
    assert texts.lists([one, many]).to_pylist() == [["a", "b", "c"], [], ["d"]]
    assert texts.lists([many, one]).to_pylist() == [["b", "c", "a"], [], ["d"]]


def test_no_row_makes_no_list() -> None:
    assert texts.lists([pa.chunked_array([], pa.string())]).to_pylist() == []
    assert texts.none(2).to_pylist() == [[], []]
