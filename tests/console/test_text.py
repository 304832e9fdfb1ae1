from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from ctos_tui.text import ELLIPSIS, clean, clean_markup, ellipsis, pad_left, pad_right, width


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("BTC-USDT-PERP", "BTC-USDT-PERP"),
        ("\x1b]52;c;ZXZpbA==\x07x", "␛]52;c;ZXZpbA==␇x"),
        ("\x1b[2J\x1b[31mred", "␛[2J␛[31mred"),
        ("line one\r\nline\ttwo\u2028end", "line one  line two end"),
        ("BTC\u202eTDSU\u202c", "BTC�TDSU�"),
        ("B\u200bT\u2060C\ufeff", "B�T�C�"),
        ("\x7f\x85\x9b31m", "␡ �31m"),
        ("Z\u0300\u0301\u0302\u0489algo", "Zalgo"),
        ("币安人生USDT", "币安人生USDT"),
        ("a\U000e0041\ue000\udc80b", "a���b"),
        ("[@click=app.quit]press[/]", "[@click=app.quit]press[/]"),
    ],
)
def test_foreign_text_is_shown_inert(foreign: str, shown: str) -> None:
    assert clean(foreign) == shown


@given(st.text(alphabet=st.characters(), max_size=60))
def test_clean_text_has_no_commands_and_a_known_width(foreign: str) -> None:
    shown = clean(foreign)
    for char in shown:
        assert unicodedata.category(char)[0] not in "CM" or unicodedata.category(char) == "Mc"
        assert cell_len(char) in (1, 2)
    assert width(shown) == sum(map(cell_len, shown)) == cell_len(shown)
    assert clean(shown) == shown


def test_long_text_is_cut_with_an_ellipsis() -> None:
    assert clean("x" * 5000, limit=10) == "x" * 9 + ELLIPSIS


@given(st.text(alphabet=st.sampled_from("abc[]/@=\\ #$1"), max_size=30))
def test_markup_stays_text(foreign: str) -> None:
    assume_backslash_free = foreign.replace("\\", "")
    assert Text.from_markup(clean_markup(assume_backslash_free)).plain == assume_backslash_free


@given(st.text(alphabet="aé币…x", max_size=20), st.integers(0, 12))
def test_padding_gives_exactly_the_cells_asked_for(text: str, cells: int) -> None:
    assert width(pad_left(text, cells)) == cells
    assert width(pad_right(text, cells)) == cells
    assert width(ellipsis(text, cells)) <= cells
    if width(text) <= cells:
        assert ellipsis(text, cells) == text
