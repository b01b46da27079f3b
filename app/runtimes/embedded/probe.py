"""What the llama-cpp-python of this interpreter is made of: `python -m app.runtimes.embedded.probe` prints JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from app.runtimes.embedded.bindings import LogRouter, backends, build_text, devices, llama


def main() -> int:
    """Print the build, its backends, its system information and its devices."""
    try:
        log = LogRouter(quiet=True)
    except ImportError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    llama().llama_backend_init()
    answer = {
        "build": build_text(),
        "system": llama().llama_print_system_info().decode("utf-8", "replace").strip(" |"),
        "backends": backends(),
        "devices": [asdict(device) for device in devices()],
        "errors": list(log.errors),
    }
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
