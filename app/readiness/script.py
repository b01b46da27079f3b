"""A shell script of the fixes, to be read and then run by a person; moetune itself changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

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

mark() {{ say "$1" >>"$STATE/done"; }}
marked() {{ grep -qsxF "$1" "$STATE/done"; }}
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
    itself with `undo`, as far as it got. What only a person can do (firmware settings, NixOS) and what is a matter of
    taste (the fixes of notes: one of them costs an NPU) stands in it as a comment.

    Args:
        findings: those whose fixes are wanted; findings without a fix, and good ones, are left out.
        machine: names the host in the script.
    """
    from hashlib import sha256

    mended = [f for f in findings if f.fix is not None and f.severity in ("blocks", "costs")]
    optional = [f for f in findings if f.fix is not None and f.severity in ("note", "unknown")]
    by_hand = [f for f in mended if f.fix and all(step.kind == "by hand" for step in f.fix.steps)]
    done = [f for f in mended if f not in by_hand]
    steps = tuple(dict.fromkeys(step for f in done if f.fix for step in f.fix.steps if step.kind != "by hand"))
    body = _functions(done, steps)
    key = sha256(body.encode()).hexdigest()[:12]
    reboot = any(f.fix and f.fix.reboot for f in done)
    head = _HEAD.format(host=_comment(machine.host_name) or "this host", name="fix.sh", key=key)
    tail = _TAIL.format(reboot='say "Restart the machine for it to take effect."' if reboot else ":")
    return "\n".join([head, *_comments("By hand", by_hand), *_comments("If you like", optional), "", body, tail])


def _functions(findings: Iterable[Finding], steps: tuple[Step, ...]) -> str:
    changes = [step for step in steps if step.kind != "rebuild"]
    rebuilds = [step for step in steps if step.kind == "rebuild"]
    show = [f"say {_quote(f'- {finding.title}')}" for finding in findings]
    show += [f"say {_quote(f'    {_told(step)}')}" for step in (*changes, *rebuilds)]
    apply: list[str] = []
    undo: list[str] = []
    for number, step in enumerate(changes, start=1):
        apply.append(_line(step))
        if step.kind == "run" and step.undo:
            apply.append(f"mark {number}")
            undo.insert(0, f"if marked {number}; then run {step.undo}; fi")
    again = [_line(step) for step in rebuilds]
    functions = {"show": show, "apply": [*apply, *again], "undo": [*undo, "put_back", *again]}
    return "\n".join(_function(name, lines) for name, lines in functions.items())


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


def _told(step: Step) -> str:
    match step.kind:
        case "write":
            return f"write {step.path}: {step.text}"
        case "edit":
            return f"edit {step.path}: sed -E {step.text}"
        case _:
            return f"run {step.text}"


def _comments(heading: str, findings: Iterable[Finding]) -> Iterator[str]:
    for finding in findings:
        yield f"# {heading}: {_comment(finding.title)}"
        if finding.fix is not None:
            yield from (f"#   {_comment(line)}" for line in finding.fix.text.splitlines())


def _comment(text: str) -> str:
    """One line whatever was detected: nothing in a fact may become a command."""
    return " ".join(text.split())


def _quote(text: str) -> str:
    return "'" + _comment(text).replace("'", "'\\''") + "'"
