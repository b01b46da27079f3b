"""How one version of llama.cpp spells its options, by what its own `--help` lists.

Options were renamed, removed and given values over the years, and an unknown one makes the engine exit. So nothing
is emitted that the help text of the engine at hand does not list. An engine that was not asked (no flags known)
is taken to speak the newest dialect.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.errors import NoEngineError
from app.runtimes.base import Engine

_OPTION = r"-{1,2}[A-Za-z][\w.+-]*"
_OPTION_LINE = re.compile(rf"^ {{0,2}}({_OPTION}(?:,\s+{_OPTION})*)(.*)$")
"""An option starts its line; the text that describes it is indented far deeper."""


@dataclass(frozen=True, slots=True)
class HelpOptions:
    """The options of one `--help` text."""

    flags: frozenset[str]
    switches: frozenset[str]
    """Those that take no value."""


def parse_help(text: str) -> HelpOptions:
    """Read the option names of a llama.cpp help text.

    A placeholder for a value follows its option after one blank (`-c,    --ctx-size N`); the description, or the
    end of the line, after more.
    """
    flags: set[str] = set()
    switches: set[str] = set()
    for line in text.splitlines():
        if match := _OPTION_LINE.match(line):
            names = re.findall(_OPTION, match[1])
            flags.update(names)
            if not re.match(r" \S", match[2]):
                switches.update(names)
    return HelpOptions(frozenset(flags), frozenset(switches))


@dataclass(frozen=True, slots=True)
class Dialect:
    """The spelling that one engine understands."""

    flags: frozenset[str]
    switches: frozenset[str]
    speaker: str
    """Who is meant in an error: `llama.cpp 0.5.0 at /usr/bin/llama-server`."""

    @classmethod
    def of(cls, engine: Engine) -> Dialect:
        """The dialect of an engine that was found."""
        return cls(engine.flags, engine.switches, f"llama.cpp {engine.version} at {engine.path}")

    def knows(self, flag: str) -> bool:
        """Whether the engine has that option, taken to be so where it was not asked."""
        return not self.flags or flag in self.flags

    def need(self, flag: str, *values: str) -> tuple[str, ...]:
        """The option with its values.

        Raises:
            NoEngineError: the engine has no such option.
        """
        if not self.knows(flag):
            raise NoEngineError(
                f"{self.speaker} has no {flag}, which this plan needs.",
                hint="Build a current engine with `moetune runtime build`, or set MOETUNE_LLAMA_SERVER to one.",
            )
        return (flag, *values)

    def if_known(self, flag: str, *values: str) -> tuple[str, ...]:
        """The option with its values, or nothing where the engine lacks it and can do without."""
        return (flag, *values) if self.knows(flag) else ()

    def load_mode(self, mode: str) -> tuple[str, ...]:
        """How weights get into memory. Before `-lm` there were switches, with mmap as the default."""
        if self.knows("-lm"):
            return ("-lm", mode)
        if mode == "mmap":
            return ()
        return self.need({"none": "--no-mmap", "mlock": "--mlock", "dio": "--direct-io"}.get(mode, f"-lm {mode}"))

    def flash_attention(self, on: bool) -> tuple[str, ...]:
        """Flash attention: a switch that was off by default until 2025, an option with a value since."""
        if "-fa" in self.switches:
            return ("-fa",) if on else ()
        return self.need("-fa", "on" if on else "off")

    def placement_as_given(self) -> tuple[str, ...]:
        """Keep the engine from fitting the placement to its own idea of free memory."""
        return self.if_known("-fit", "off")

    def load_details(self) -> tuple[str, ...]:
        """What makes the engine print the size of each buffer while it loads.

        Engines with `-fit` map libllama's messages to verbosity 4 and print up to 3; older ones print them anyway,
        and their `-lv 4` is a flood.
        """
        return self.if_known("-lv", "4") if self.knows("-fit") else ()
