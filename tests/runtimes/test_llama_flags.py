from __future__ import annotations

from dataclasses import replace

import pytest

from app.errors import NoEngineError
from app.runtimes.llama_flags import Dialect, parse_help

from .conftest import engine_of

OLD_HELP = """\
----- common params -----

-h,    --help, --usage                  print usage and exit
-c,    --ctx-size N                     size of the prompt context (default: 4096, 0 = loaded from
                                        model)
-fa,   --flash-attn                     enable Flash Attention (default: disabled)
                                        (env: LLAMA_ARG_FLASH_ATTN)
--no-mmap                               do not memory-map model (slower load but may reduce pageouts
                                        if not using --mlock)
-dio,  --direct-io, -ndio, --no-direct-io
                                        DEPRECATED
-lv,   --verbosity, --log-verbosity N   set the verbosity threshold
"""
"""In the words of a version of early 2025."""


@pytest.fixture
def old() -> Dialect:
    known = parse_help(OLD_HELP)
    return Dialect(known.flags, known.switches, "llama.cpp b4567")


def test_every_spelling_of_an_option_is_known() -> None:
    flags = parse_help(OLD_HELP).flags
    assert flags >= {"-c", "--ctx-size", "-fa", "--flash-attn", "-ndio", "--no-direct-io", "--log-verbosity"}


def test_options_named_in_a_description_are_not_options() -> None:
    assert "--mlock" not in parse_help(OLD_HELP).flags


def test_switches_are_told_from_options_with_a_value() -> None:
    known = parse_help(OLD_HELP)
    assert {"-fa", "--flash-attn", "--no-mmap", "-dio", "--usage"} <= known.switches
    assert not {"-c", "--ctx-size", "-lv", "--log-verbosity"} & known.switches


def test_mmap_is_an_option_now_and_was_a_switch() -> None:
    assert Dialect.of(engine_of("0.5.0")).load_mode("none") == ("-lm", "none")
    assert Dialect.of(engine_of("0.5.0")).load_mode("mmap") == ("-lm", "mmap")


def test_the_old_switch_for_mmap(old: Dialect) -> None:
    assert old.load_mode("none") == ("--no-mmap",)
    assert old.load_mode("mmap") == ()


def test_a_version_with_both_spellings_gets_the_new_one() -> None:
    assert "--no-mmap" in engine_of("0.1.0").flags
    assert Dialect.of(engine_of("0.1.0")).load_mode("none") == ("-lm", "none")


def test_flash_attention_takes_a_value_now() -> None:
    assert Dialect.of(engine_of("0.5.0")).flash_attention(True) == ("-fa", "on")
    assert Dialect.of(engine_of("0.5.0")).flash_attention(False) == ("-fa", "off")


def test_flash_attention_was_a_switch(old: Dialect) -> None:
    assert old.flash_attention(True) == ("-fa",)
    assert old.flash_attention(False) == ()


def test_details_of_the_load_are_asked_for_where_the_levels_are_new(old: Dialect) -> None:
    assert Dialect.of(engine_of("0.5.0")).load_details() == ("-lv", "4")
    assert old.load_details() == ()


def test_a_needed_option_that_is_missing_is_named_with_the_version(old: Dialect) -> None:
    with pytest.raises(NoEngineError, match=r"b4567 has no -ot"):
        old.need("-ot", "x=CPU")


def test_a_load_mode_that_old_versions_lack_is_refused(old: Dialect) -> None:
    with pytest.raises(NoEngineError, match="has no --mlock"):
        old.load_mode("mlock")


def test_an_engine_that_was_not_asked_speaks_the_newest_dialect() -> None:
    unasked = replace(engine_of(), flags=frozenset(), switches=frozenset())
    assert Dialect.of(unasked).load_mode("none") == ("-lm", "none")
    assert Dialect.of(unasked).flash_attention(True) == ("-fa", "on")
