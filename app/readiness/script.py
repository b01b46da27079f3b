"""A shell script of the fixes, to be read and then run by a person; moetune itself changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.readiness.finding import Finding
from app.readiness.steps import Step
from detectors.facts import Machine

_HEAD = """\
#!/bin/sh
# Fixes for {host}, written by `moetune check --fix`. Read it before you run it.
#
#   sh {name}          tells what it would do, and does nothing
#   sudo sh {name} apply   does it; every file is saved first, and a second run is refused
#   sudo sh {name} undo    puts the files back and takes the commands back
#
# Nothing takes effect before the next start of the machine where a step says so.
# MOETUNE_ROOT=/some/folder tries it out: on the files below that folder, with the commands in its bin folder, if any.
set -eu

ROOT="${{MOETUNE_ROOT:-}}"
STATE="$ROOT/var/lib/moetune/fix-{key}"

run() {{
    if [ -z "$ROOT" ]; then
        "$@"
    elif [ -x "$ROOT/bin/$1" ]; then
        "$ROOT/bin/$@"
    else
        say "would run: $*"
    fi
}}

in_container() {{ [ -z "$ROOT" ] && {{ [ -e /.dockerenv ] || [ -e /run/.containerenv ]; }}; }}

say() {{ printf '%s\\n' "$*"; }}
fail() {{ say "$*" >&2; exit 1; }}

# Keeps a file as it is now, or the fact that there is none.
save() {{
    for file in "$ROOT"$1; do
        kept="$STATE/files${{file#"$ROOT"}}"
        mkdir -p "${{kept%/*}}"
        if [ -e "$file" ]; then
            [ -e "$kept" ] || cp -pL "$file" "$kept"
        elif ! grep -qsxF "${{file#"$ROOT"}}" "$STATE/new"; then
            case "$file" in *'*'*) fail "there is no $file" ;; esac
            say "${{file#"$ROOT"}}" >>"$STATE/new"
        fi
    done
}}

put() {{
    save "$1"
    mkdir -p "$ROOT${{1%/*}}"
    printf '%s\\n' "$2" >"$ROOT$1"
}}

edit() {{
    path=$1
    shift
    save "$path"
    for file in "$ROOT"$path; do
        [ -e "$file" ] || fail "there is no $file"
        sed -E "$@" "$file" >"$STATE/edited"
        cat "$STATE/edited" >"$file"
    done
}}

put_back() {{
    if [ -d "$STATE/files" ]; then
        (cd "$STATE/files" && find . -type f) | while IFS= read -r file; do
            cp -p "$STATE/files/$file" "$ROOT/$file"
            say "put back ${{file#.}}"
        done
    fi
    if [ -e "$STATE/new" ]; then
        while IFS= read -r file; do
            rm -f "$ROOT$file"
            say "removed $file"
        done <"$STATE/new"
    fi
}}
"""

_TAIL = """\
case "${{1:-show}}" in
show | --help | -h)
    show
    say "Nothing was done. To do it: sudo sh $0 apply"
    ;;
apply)
    [ -n "$ROOT" ] || [ "$(id -u)" -eq 0 ] || fail "apply needs root: sudo sh $0 apply"
    if in_container; then fail "This is a container: run it on the host."; fi
    [ ! -e "$STATE/applied" ] || fail "This was done already, see $STATE. To take it back: sudo sh $0 undo"
    [ ! -d "$STATE" ] || fail "An earlier run stopped half way; what it changed is in $STATE. First: sudo sh $0 undo"
    mkdir -p "$STATE"
    apply
    date >"$STATE/applied"
    say "Done. To take it back: sudo sh $0 undo"
    {reboot}
    ;;
undo)
    [ -d "$STATE" ] || fail "Nothing of this script was applied here."
    [ -n "$ROOT" ] || [ "$(id -u)" -eq 0 ] || fail "undo needs root: sudo sh $0 undo"
    undo
    rm -rf "$STATE"
    say "Undone."
    ;;
*)
    fail "usage: sh $0 [apply | undo]"
    ;;
esac
"""


def fix_script(findings: Sequence[Finding], machine: Machine) -> str:
    """A POSIX shell script that applies the fixes of these findings on that machine, and takes them back.

    It does nothing without the word `apply`, saves each file before it edits it, refuses a second run, and undoes
    itself with `undo`. What only a person can do (firmware settings, NixOS) stands in it as a comment.

    Args:
        findings: those whose fixes are wanted; findings without a fix, and good ones, are left out.
        machine: names the host in the script.
    """
    chosen = [finding for finding in findings if finding.fix is not None and finding.severity != "good"]
    steps = tuple(dict.fromkeys(step for f in chosen if f.fix for step in f.fix.steps if step.kind != "by hand"))
    body = _functions(chosen, steps)
    from hashlib import sha256

    key = sha256(body.encode()).hexdigest()[:12]
    host = _comment(machine.host_name) or "this host"
    reboot = any(f.fix and f.fix.reboot and f.fix.steps for f in chosen)
    head = _HEAD.format(host=host, name="fix.sh", key=key)
    tail = _TAIL.format(reboot='say "Restart the machine for it to take effect."' if reboot else ":")
    return f"{head}\n{_by_hand(chosen)}{body}\n{tail}"


def _functions(findings: Iterable[Finding], steps: tuple[Step, ...]) -> str:
    show = [f"say {_quote(f'- {f.title}')}" for f in findings if f.fix and any(s in steps for s in f.fix.steps)]
    show += [f"say {_quote(f'    {line}')}" for step in steps for line in _told(step)]
    changes = [step for step in steps if step.kind != "rebuild"]
    rebuilds = [f"run {step.text}" for step in steps if step.kind == "rebuild"]
    undo = [f"run {step.undo}" for step in reversed(changes) if step.kind == "run" and step.undo]
    return "\n".join(
        [
            _function("show", show),
            _function("apply", [*map(_line, changes), *rebuilds]),
            _function("undo", [*undo, "put_back", *rebuilds]),
        ]
    )


def _function(name: str, lines: list[str]) -> str:
    body = "".join(f"    {line}\n" for line in lines or [":"])
    return f"{name}() {{\n{body}}}\n"


def _line(step: Step) -> str:
    match step.kind:
        case "write":
            return f"put {_quote(step.path)} {_quote(step.text)}"
        case "edit":
            return f"edit {_quote(step.path)} {step.text}"
        case _:
            return f"run {step.text}"


def _told(step: Step) -> list[str]:
    match step.kind:
        case "write":
            return [f"write {step.path}: {step.text}"]
        case "edit":
            return [f"edit {step.path}: sed -E {step.text}"]
        case _:
            return [f"run {step.text}"]


def _by_hand(findings: Iterable[Finding]) -> str:
    lines: list[str] = []
    for finding in findings:
        fix = finding.fix
        if fix is None or any(step.kind != "by hand" for step in fix.steps):
            continue
        lines += [f"# By hand: {_comment(finding.title)}", *(f"#   {_comment(line)}" for line in fix.text.splitlines())]
    return "\n".join([*lines, "", ""]) if lines else ""


def _comment(text: str) -> str:
    """One line whatever was detected: nothing in a fact may become a command."""
    return " ".join(text.split())


def _quote(text: str) -> str:
    return "'" + _comment(text).replace("'", "'\\''") + "'"
