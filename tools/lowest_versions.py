"""Prints pip constraints: of every requirement in setup.cfg the lowest version that it admits.

    python tools/lowest_versions.py test > lowest.txt
    pip install -e ".[test]" -c lowest.txt

The arguments are extras, whose requirements are added to those of the package itself.
"""

import argparse
import configparser
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

_SETUP = Path(__file__).parents[1] / "setup.cfg"
_REQUIREMENT = re.compile(r"([A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?([^;]*)")
_LOWEST = re.compile(r"(?:>=|~=|==)\s*(\d[\w.]*)")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a line a requirement; returns the exit status, 2 where setup.cfg lacks what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extras", nargs="*", help="of setup.cfg, such as test")
    try:
        lines = constraints(requirements(_SETUP.read_text(encoding="utf-8"), parser.parse_args(argv).extras))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


def requirements(text: str, extras: Sequence[str] = ()) -> list[str]:
    """The requirements of the package and of some of its extras, as they stand in setup.cfg.

    Args:
      text: of setup.cfg.
      extras: names of extras.

    Raises:
      ValueError: if there is no such extra.
    """
    parser = configparser.ConfigParser()
    parser.read_string(text)
    known = parser["options.extras_require"]
    for extra in extras:
        if extra not in known:
            raise ValueError(f"setup.cfg has no extra {extra}; it has {', '.join(known)}.")
    values = [parser["options"]["install_requires"], *(known[extra] for extra in extras)]
    return [line for value in values for line in value.split("\n") if line]


def constraints(wanted: Iterable[str]) -> list[str]:
    """The lowest version of each requirement, as a line for pip, in alphabetical order.

    Args:
      wanted: requirements, such as "numpy>=2.0,<3" and "tensorflow~=2.21.0".

    Raises:
      ValueError: if a requirement admits any old version.
    """
    lowest = set()
    for requirement in wanted:
        found = _REQUIREMENT.fullmatch(requirement.strip())
        bound = _LOWEST.search(found[2]) if found else None
        if not found or not bound:
            raise ValueError(f"setup.cfg: {requirement} has no lowest version; write {requirement}>=VERSION.")
        lowest.add(f"{found[1]}=={bound[1]}")
    return sorted(lowest)


if __name__ == "__main__":
    sys.exit(main())
