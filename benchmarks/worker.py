"""The process a contender lives in: one object, asked by lines of JSON on standard input, one answer a line.

`turns.Worker` starts it. A process each keeps contenders from sharing threads, caches of kernels and peak memory.
Standard library only, so that an interpreter that holds nothing but a peer's packages can run it.
"""

import importlib
import json
import os
import resource
import sys
import traceback


def peak_bytes() -> int:
    """The most memory this process has held at once (resident), in bytes."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        # Not Linux. There rusage is not taken first: it inherits the peak of the process that started this one.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Makes the object that the command line names, `module:Class` and its options, and answers until told to stop."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not look like an answer

    def answer(function, **arguments):
        try:
            result = function(**arguments)
        except Exception as error:
            traceback.print_exc()
            answers.write(json.dumps({"error": type(error).__name__, "message": str(error)}) + "\n")
            return None
        answers.write(json.dumps({"result": None if function is make else result}) + "\n")
        return result

    def make(target, **options):
        module, name = target.split(":")
        return getattr(importlib.import_module(module), name)(**options)

    contender = answer(make, target=sys.argv[1], **json.loads(sys.argv[2]))
    if contender is None:
        return
    for line in sys.stdin:
        name, arguments = json.loads(line)
        answer(peak_bytes if name == "peak_bytes" else getattr(contender, name), **arguments)


if __name__ == "__main__":
    main()
