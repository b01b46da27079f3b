"""A systemd user unit: `~/.config/systemd/user/NAME.service`."""

from __future__ import annotations

from app.jobs.exports.launch import Launch


def systemd_unit(launch: Launch) -> str:
    """The unit.

    It starts again when the engine dies, three times in ten minutes at most: a plan that does not fit must not fill the
    machine's memory for ever.
    """
    program = launch.argv[0]
    command = launch.argv if program.startswith("/") else ("/usr/bin/env", *launch.argv)
    lines = [
        *(f"# {line}" for line in launch.about),
        "[Unit]",
        f"Description={_percent(launch.title)}",
        "StartLimitIntervalSec=600",
        "StartLimitBurst=3",
        "",
        "[Service]",
        "Type=exec",
        *(f"Environment={_word(f'{name}={value}', dollars=False)}" for name, value in launch.env),
        *(f"UnsetEnvironment={name}" for name in launch.unset),
        "ExecStart=" + " ".join(_word(word) for word in command),
        "Restart=on-failure",
        "RestartSec=5",
        # The engine gets SIGTERM and may end what it started; what is left after that is killed with it.
        "KillMode=mixed",
        "TimeoutStopSec=30",
        "OOMPolicy=stop",
        "",
        "[Install]",
        "WantedBy=default.target",
    ]
    return "\n".join(lines) + "\n"


def _percent(text: str) -> str:
    return text.replace("%", "%%")


def _word(word: str, *, dollars: bool = True) -> str:
    """One word as systemd.syntax(7) and systemd.service(5) quote it: specifiers, variables, quotes, spaces."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    text = _percent(text.replace("$", "$$") if dollars else text)
    plain = text == word and text and not set(text) & set(" ';#")
    return text if plain else f'"{text}"'
