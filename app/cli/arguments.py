"""The words of the command line. Each sub-command imports its code only when it is the one that was typed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module

from app.cli.bench_arguments import add_bench, add_history
from app.cli.host_arguments import add_host, add_rpc_serve
from app.units import parse_bytes, parse_count

_ABOUT = """\
Plan, run and tune Mixture-of-Experts models on unlike devices: attention where memory is fastest,
experts where it is large. Without a command, the terminal UI opens."""

_EXAMPLES = """\
examples:
  moetune                                   open the UI
  moetune check                             what is this machine, and what is wrong with it
  moetune models                            what there is, and what each would come to here
  moetune plan model.gguf --context 32K     where everything goes, how fast, and why
  moetune run model.gguf                    start it and watch it live
  moetune presets                           models with their work, ready to plan and run by name
  moetune demo                              all of it, on a small model made here, without a GPU

exit codes: 0 done, 1 failed, 2 usage, 3 model, 4 does not fit, 5 no engine, 6 engine failed,
  7 port in use, 8 build failed, 9 busy, 130 interrupted; check: 0 ready, 1 costs, 2 blocks"""

_KV_TYPES = ("auto", "f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
_FORMS = ("sh", "systemd", "llama-swap", "llama-preset", "compose", "kt-0.3-rules")
_RUNTIMES = ("llama.cpp", "ktransformers", "any")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; the result's `command` runs it.

    Raises:
        SystemExit: with code 2 and a usage line, or 0 after `--help`.
    """
    return _parser().parse_args(words)


def _lazily(module: str) -> Callable[[argparse.Namespace], int]:
    def command(arguments: argparse.Namespace) -> int:
        run: Callable[[argparse.Namespace], int] = import_module(f"app.cli.{module}").run
        return run(arguments)

    return command


def _typed(read: Callable[[str], int]) -> Callable[[str], int]:
    def convert(text: str) -> int:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


def _positive(text: str) -> int:
    value = parse_count(text)
    if value < 1:
        raise ValueError(f"{text!r} must be 1 or more")
    return value


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no speed: give tokens per second, such as 10")
    return value


def _change(text: str) -> str:
    name, separator, value = text.partition("=")
    if not (separator and name and value):
        raise argparse.ArgumentTypeError(
            f"{text!r}: write changes as NAME=VALUE, such as ram=192, after the model and the other options"
        )
    return text


def _port(text: str) -> int:
    if not text.isdigit() or not 0 <= int(text) <= 65535:
        raise ValueError(f"{text!r} is not a port: give 0 (any free one) to 65535")
    return int(text)


def _limit(text: str) -> tuple[str, int]:
    name, separator, size = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"{text!r}: write a limit as DEVICE=SIZE, such as CUDA0=10GiB")
    return name, _typed(parse_bytes)(size)


def _endpoints(text: str) -> tuple[str, ...]:
    found = _names(text)
    for endpoint in found:
        host, colon, port = endpoint.rpartition(":")
        if colon and (not host or not port.isdigit() or not 0 < int(port) < 65536):
            raise argparse.ArgumentTypeError(f"{endpoint!r}: write RPC servers as host:port, or by their known names")
    return found


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("moetune", description=_ABOUT, epilog=_EXAMPLES, formatter_class=raw)
    parser.add_argument("--version", action="store_true", help="print the version")
    parser.set_defaults(command=_lazily("ui"))
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")

    def add(name: str, help_text: str, module: str | None = None) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_text, description=help_text, formatter_class=raw)
        sub.set_defaults(command=_lazily(module or name))
        return sub

    _add_host(parser)
    _add_check(add("check", "What is this machine, and what is wrong with it?"))
    plan = add("plan", "Where should everything go, how fast will it be, and why?")
    _add_planning(plan)
    _add_questions(plan)
    _add_host(plan)
    _add_json(plan)
    _add_run(add("run", "Start a model with its best plan, and watch it live."))
    export = add("export", "Write a plan down: a script, a systemd unit, or an entry of another program's files.")
    _add_planning(export)
    _add_host(export)
    export.add_argument("--as", dest="form", choices=_FORMS, required=True, help="in which form")
    export.add_argument("-o", "--output", metavar="FILE", help="where to write (default: stdout)")
    export.add_argument("--force", action="store_true", help="overwrite the file")
    _add_capture(
        add("capture", "Save what was read of this machine, scrubbed: for a bug report, or to plan elsewhere.")
    )
    _add_models(add("models", "Which models are there, which are described, and what would each come to here?"))
    presets = add("presets", "Which models with which work come ready-made, and what would each come to here?")
    presets.add_argument("preset", nargs="?", metavar="NAME", help="show this one in full")
    _add_host(presets)
    _add_json(presets)
    _add_slice(add("slice", "Write a small GGUF with the true shapes of a model and random weights.", "slicing"))
    _add_calibrate(add("calibrate", "Measure this machine with its real engines, and plan with what that tells."))
    bench = add("bench", "Measure a plan's speed over contexts and batches, beside what was predicted.")
    _add_planning(bench, optional=True)
    add_bench(bench)
    _add_json(bench)
    history = add("history", "What was benchmarked before: list, compare, plot, export.")
    add_history(history)
    _add_json(history)
    _add_runtime(add("runtime", "List the engines, or build llama.cpp for this machine."))
    add_host(add("host", "Other hosts whose devices plans may use: add, list, remove."))
    add_rpc_serve(add("rpc-serve", "Lend this machine's devices to a moetune on another host.", "rpc_serve"))
    demo = add("demo", "Run everything once on a small model made here: no GPU, no download.")
    demo.add_argument("--plain", action="store_true", help="print instead of opening the UI")
    demo.add_argument("--seconds", type=_typed(_positive), default=12, help="how long to generate (default 12)")
    _add_json(demo)
    return parser


def _add_host(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", dest="capture", metavar="FILE", help="a captured machine in place of this one")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--measure", action="store_true", help="measure the RAM's read bandwidth first (about 1 s)")
    parser.add_argument("--for", dest="model", metavar="MODEL",
                        help="judge for the plan of this model: a GGUF file, or a name of `moetune slice`")  # fmt: skip
    parser.add_argument("-c", "--context", type=_typed(_positive), default=8192, metavar="N",
                        help="tokens of context that --for plans with, such as 32K (default 8K)")  # fmt: skip
    parser.add_argument(
        "--fix", metavar="SCRIPT", help="write a script that mends what can be mended, to review and run"
    )
    _add_host(parser)
    parser.add_argument("--all", action="store_true", help="show the checks that passed, too")
    parser.add_argument("--no-engines", action="store_true", help="leave the engines out (faster)")
    _add_json(parser)


def _add_planning(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    parser.add_argument(
        "model",
        nargs="?" if optional else None,
        help="a GGUF file (any part of a split one), a Hugging Face config.json, a name of `moetune presets`, or one of"
        " `moetune models`, with or without :QUANTIZATION",
    )
    work = parser.add_argument_group("workload (what is left open is the preset's, where one is named)")
    work.add_argument("-c", "--context", type=_typed(_positive), metavar="N",
                      help="tokens of context per sequence, such as 32K (default 8K)")  # fmt: skip
    work.add_argument("--parallel", type=_typed(_positive), metavar="N", help="sequences at once (default 1)")
    work.add_argument("--prompt-tokens", type=_typed(_positive), metavar="N",
                      help="tokens of a usual prompt (default 1K)")  # fmt: skip
    work.add_argument("--output-tokens", type=_typed(_positive), metavar="N",
                      help="tokens of a usual answer (default 512)")  # fmt: skip
    work.add_argument("--objective", choices=("turn", "throughput", "context"),
                      help="what is best: the shortest turn of one user, the most tokens of all users,"
                      " or the longest context (default turn)")  # fmt: skip
    work.add_argument("--floor", type=_rate, metavar="T/S",
                      help="slowest decode that --objective context accepts (default 10 t/s)")  # fmt: skip
    choice = parser.add_argument_group("choices (what is left open is chosen)")
    choice.add_argument("--devices", type=_names, default=(), metavar="A,B", help="only these, by the engine's names")
    choice.add_argument("--limit", type=_limit, action="append", default=[], metavar="DEVICE=SIZE",
                        help="use at most SIZE of a device; may be repeated")  # fmt: skip
    choice.add_argument("--reserve", type=_typed(parse_bytes), metavar="SIZE", help="leave SIZE free on every device")
    choice.add_argument("--kv-type", choices=_KV_TYPES,
                        help="type of the KV cache (default auto: f16, or q8_0 where that pays)")  # fmt: skip
    choice.add_argument("--ubatch", type=_typed(_positive), metavar="N", help="tokens per physical batch")
    choice.add_argument("--load-mode", choices=("mmap", "none"),
                        help="map the file, or copy it into memory (which a GPU can read faster)")  # fmt: skip
    choice.add_argument("--runtime", choices=_RUNTIMES,
                        help="what is to run it (default: llama.cpp, and KTransformers where it is there)")  # fmt: skip
    choice.add_argument("--threads", type=_typed(_positive), metavar="N", help="CPU threads (default: physical cores)")
    choice.add_argument("--engine", metavar="PATH", help="the llama-server to use, or `embedded`")
    choice.add_argument("--rpc", type=_endpoints, default=(), metavar="HOST,...",
                        help="RPC servers whose devices count as devices: host:port, or names of `moetune host list`;"
                        " `none`: not even those that are always used")  # fmt: skip
    parser.add_argument("--port", type=_typed(_port), default=8080, help="port of the engine (default 8080; 0: any)")


def _add_questions(parser: argparse.ArgumentParser) -> None:
    asked = parser.add_argument_group("questions")
    asked.add_argument("--explain", nargs="?", const="decode", metavar="TERM",
                       help="how a number came about: decode, prefill, memory, kv, ubatch ..., `list` for all names"
                       " (default decode)")  # fmt: skip
    asked.add_argument("--what-if", nargs="+", action="extend", type=_change, default=[], metavar="NAME=VALUE",
                       help="plan a changed machine too, and compare: gpu='RTX 5090' pcie=5x16 ram=192")  # fmt: skip
    asked.add_argument("--brief", action="store_true", help="only the answer and the command")


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_planning(parser)
    parser.add_argument("--download", action="store_true",
                        help="of a preset: download the model first, where it is not here")  # fmt: skip
    parser.add_argument("--plain", action="store_true", help="lines on stderr instead of the UI")
    parser.add_argument("--prompt", action="append", metavar="TEXT", help="generate for TEXT, print it, and stop")
    parser.add_argument("--tokens", type=_typed(_positive), default=256, help="tokens to generate for --prompt")
    parser.add_argument("--ready-timeout", type=_typed(_positive), default=600, metavar="S",
                        help="give up when the engine is not ready after S seconds (default 600)")  # fmt: skip
    parser.add_argument(
        "--orphan", choices=("stop", "adopt"), help="what to do with an engine left by an earlier moetune"
    )
    _add_json(parser)


def _add_capture(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="where to save it: NAME.tar.gz, or a new folder")
    _add_json(parser)


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="look here too, besides the usual places")
    parser.add_argument("-c", "--context", type=_typed(_positive), default=8192, metavar="N",
                        help="tokens of context per sequence to judge for, such as 32K (default 8K)")  # fmt: skip
    parser.add_argument("--parallel", type=_typed(_positive), default=1, metavar="N", help="sequences at once")
    parser.add_argument("--all", action="store_true", help="list the described models that do not fit, too")
    _add_host(parser)
    _add_json(parser)


def _add_slice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", nargs="?", help="which model's shapes, or a GGUF file to cut layers out of; without it, lists models"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write (default NAME-slice.gguf)")
    parser.add_argument("--layers", type=_typed(_positive),
                        help="how many layers (default: all); leading dense ones are left out first")  # fmt: skip
    parser.add_argument("--experts", type=_typed(_positive), help="how many experts per layer")
    parser.add_argument("--vocabulary", type=_typed(_positive), help="how many tokens the vocabulary has")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    parser.add_argument("--force", action="store_true", help="overwrite the file")
    _add_json(parser)


def _add_calibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", metavar="MODEL",
                        help="a GGUF file to measure as it is, or a name of `moetune slice` whose shapes to measure"
                        )  # fmt: skip
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_true", help="small slices, about a minute per device (the default)")
    effort.add_argument("--full", action="store_true", help="large slices, long caches, every pair of devices")
    effort.add_argument("--show", action="store_true", help="measure nothing: show what is known of this machine")
    effort.add_argument("--forget", action="store_true", help="delete what was measured of this machine")
    parser.add_argument("--devices", type=_names, default=(), metavar="A,B", help="only these, by the engine's names")
    parser.add_argument("--rpc", type=_endpoints, default=(), metavar="HOST,...",
                        help="RPC servers whose devices to measure, too: host:port, or known names")  # fmt: skip
    parser.add_argument("--engine", metavar="PATH", help="the llama-server whose tools to use, or `embedded`")
    parser.add_argument("--seconds", type=_typed(_positive), metavar="N",
                        help="stop beginning measurements after N seconds (default 120; 900 with --full)")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="measure though other programs use the processor")
    _add_json(parser)


def _add_runtime(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="every engine found: version, backends, devices")
    listing.add_argument("--rpc", type=_endpoints, default=(), metavar="HOST,...", help="ask these RPC servers too")
    _add_json(listing)
    build = actions.add_parser("build", help="build llama.cpp's server and tools for this machine, once")
    build.add_argument("--backend", choices=("auto", "cpu", "cuda", "hip", "vulkan"), default="auto",
                       help="default: the backend of the detected GPUs, else cpu")  # fmt: skip
    build.add_argument("--dry-run", action="store_true", help="show the steps and flags, do nothing")
    _add_host(build)
    build.add_argument("--jobs", type=_typed(_positive), metavar="N", help="compilers at once (default: all cores)")
    build.add_argument("--force", action="store_true", help="build again even if it is there")
    _add_json(build)
    remove = actions.add_parser("remove", help="remove an engine that was built here; without NAME, list them")
    remove.add_argument("name", nargs="?", metavar="NAME", help="which one")
    _add_json(remove)
