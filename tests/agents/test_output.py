"""Output of any program becomes text that is safe to store, to show and to search."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.output import plain, sanitise, to_html

ESC = "\x1b"


def test_colours_stay_and_become_spans_with_the_fixed_classes():
    line = sanitise(f"{ESC}[0;32mok: [web1]{ESC}[0m done")
    assert line == f"{ESC}[0;32mok: [web1]{ESC}[0m done"
    assert to_html(line) == '<span class="a-green">ok: [web1]</span> done'
    assert plain(line) == "ok: [web1] done"


@pytest.mark.parametrize(
    ("codes", "classes"),
    [
        ("31", "a-red"),
        ("91", "a-red"),
        ("33", "a-yellow"),
        ("34", "a-blue"),
        ("35", "a-magenta"),
        ("36", "a-cyan"),
        ("90", "a-grey"),
        ("2", "a-grey"),
        ("1", "a-bold"),
        ("1;31", "a-red a-bold"),
        ("38;5;196", "a-red"),
        ("38;5;244", "a-grey"),
        ("38;2;0;200;10", "a-green"),
        ("38:2:10:10:250", "a-blue"),
    ],
)
def test_each_colour_has_its_class(codes, classes):
    assert to_html(f"{ESC}[{codes}mx") == f'<span class="{classes}">x</span>'


@pytest.mark.parametrize("codes", ["", "0", "37", "39", "48;5;196", "38", "38;5", "38;2;1", "999999", ";;;", "4"])
def test_what_is_no_colour_of_ours_is_shown_plain(codes):
    assert to_html(f"{ESC}[{codes}mx") == "x"


@pytest.mark.parametrize(
    "hostile",
    [
        f"{ESC}]8;;javascript:alert(1){ESC}\\click{ESC}]8;;{ESC}\\",
        f"{ESC}]0;title\x07click",
        f"{ESC}[2J{ESC}[Hclick",
        f"{ESC}[1Aclick{ESC}[K",
        f"{ESC}Pq#0;2;0;0;0{ESC}\\click",
        f"{ESC}_secret{ESC}\\click",
        "\x9d8;;http://x\x9cclick",
        "\x9b2Jclick",
        f"{ESC}cclick",
        f"{ESC}(0click",
        f"{ESC}[?25lclick",
        f"{ESC}[>4;1mclick",
        f"click{ESC}",
        f"click{ESC}[",
        f"click{ESC}[31",
        f"click{ESC}]52;c;aGk=",
    ],
)
def test_links_titles_cursor_moves_and_device_strings_are_removed(hostile):
    assert sanitise(hostile) == "click"


def test_nul_surrogates_and_non_characters_are_replaced_so_that_a_database_takes_the_line():
    line = sanitise("a\0b\ud800c\uffffd")
    assert line == "a\ufffdb\ufffdc\ufffdd"
    line.encode("utf-8")


def test_characters_that_reorder_or_hide_text_are_made_visible():
    assert sanitise("user\u202etxt.exe\u2066\u200b") == "user<U+202E>txt.exe<U+2066><U+200B>"
    assert sanitise("a\U000e0041") == "a<U+E0041>"


def test_other_languages_and_tabs_are_left_alone():
    assert sanitise("שלום\tمرحبا 你好 é 🎉") == "שלום\tمرحبا 你好 é 🎉"


def test_a_progress_bar_shows_its_last_state():
    assert sanitise("10%\r50%\r100%") == "100%"
    assert sanitise("10%\r100%\r") == "100%"
    assert sanitise("dos line\r\n") == "dos line"


def test_a_line_stays_one_line():
    assert "\n" not in sanitise("a\nb")


def test_a_long_line_is_cut_and_says_by_how_much():
    assert sanitise("x" * 30, limit=10) == "x" * 10 + " [line cut here: 20 more characters]"
    assert sanitise("x" * 8 + f"{ESC}[31m" + "y" * 30, limit=10).startswith("xxxxxxxx [line cut")


@pytest.mark.parametrize(
    "markup",
    ["<img src=x onerror=alert(1)>", "</script><script>", '<b hx-get="/x" hx-trigger="load">', "{{ 7*7 }}", "\"&'"],
)
def test_markup_is_shown_as_text(markup):
    html = to_html(sanitise(f"{ESC}[31m{markup}"))
    assert "<b" not in html
    assert "<img" not in html
    assert "script>" not in html.replace("script&gt;", "")


def test_to_html_is_safe_for_text_that_was_never_sanitised():
    assert to_html("a\0<\x1b]8;;x\x07") == "a\ufffd&lt;\u241b]8;;x\u2407"


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_any_text_becomes_storable_text_and_well_formed_spans(text):
    line = sanitise(text)
    line.encode("utf-8")
    json.dumps(line)
    assert "\0" not in line
    assert "\n" not in line
    assert sanitise(line) == line
    html = to_html(line)
    assert html.count("<span") == html.count("</span>")
    assert "\x1b" not in html


def test_a_megabyte_of_escapes_takes_no_time():
    for hostile in ("\x1b[" * 500_000, "\x1b]" * 500_000, "\x1b[31;" * 200_000, "\r" * 1_000_000, "\x9b1" * 500_000):
        began = time.process_time()
        sanitise(hostile)
        assert time.process_time() - began < 1.5
