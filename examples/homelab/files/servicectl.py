"""Ask the sandbox's service manager for something: `servicectl.py [--root DIR] OPERATION [UNIT]`.

Operations: ping, list, daemon-reload, status, start, stop, restart, reload. The answer is one line of JSON on stdout;
a refusal is one sentence on stderr and exit status 1. DIR defaults to the environment's CHIFFON_SANDBOX.
"""

import argparse
import json
import os
import socket
import sys

TIMEOUT_SECONDS = 15


def ask(root: str, operation: str, unit: str | None) -> dict[str, object]:
    """Send one request to the manager of `root` and return its answer; raises OSError, ValueError or TypeError."""
    # A socket's address holds 107 bytes; from inside its folder the name is always short enough.
    os.chdir(root)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_SECONDS)
        connection.connect("manager.sock")
        connection.sendall(json.dumps({"op": operation, "unit": unit}).encode() + b"\n")
        with connection.makefile("rb") as stream:
            answer = json.loads(stream.readline())
    return dict(answer)


def main() -> int:
    """Run from the command line; 0 when the manager did it, 1 when it refused or is not there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=os.environ.get("CHIFFON_SANDBOX", ""), help="the sandbox folder")
    parser.add_argument("operation")
    parser.add_argument("unit", nargs="?")
    options = parser.parse_args()
    if not options.root:
        print("No sandbox folder was given: use --root or set CHIFFON_SANDBOX.", file=sys.stderr)
        return 1
    try:
        answer = ask(options.root, options.operation, options.unit)
    except TimeoutError:
        print(f"The service manager of {options.root} did not answer within {TIMEOUT_SECONDS} s.", file=sys.stderr)
        return 1
    except OSError as problem:
        reason = problem.strerror or problem
        print(
            f"The service manager of {options.root} is not running ({reason}); 'chiffon up --demo' starts it.",
            file=sys.stderr,
        )
        return 1
    except (TypeError, ValueError):
        print(f"The service manager of {options.root} gave no readable answer.", file=sys.stderr)
        return 1
    if not answer.get("ok"):
        print(answer.get("error", "The service manager refused."), file=sys.stderr)
        return 1
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
