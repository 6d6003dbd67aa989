"""Asks a vulnerability service about every installed package, by pip-audit; exit status 1 where it knows a hole.

    python tools/audit.py

pip-audit ends with status 0, "no known vulnerabilities", also where the service knew none of the packages, and with
status 1 both for a hole and for a network that is not there. Here what was not audited is said, and only holes fail.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

# {id of a hole that may stay: why it does no harm here}
EXCEPTIONS: dict[str, str] = {}
_SERVICES = ("pypi", "osv")


class Answer(NamedTuple):
    """What pip-audit said.

    Attributes:
      report: its JSON, "" where it failed.
      error: what it printed beside.
    """

    report: str
    error: str


class Verdict(NamedTuple):
    """What a service said about the packages.

    Attributes:
      audited: how many it knew.
      holes: {id: package, version and fix}.
      unknown: packages that it did not know.
    """

    audited: int
    holes: dict[str, str]
    unknown: list[str]


def main(ask: Callable[[str], Answer] | None = None) -> int:
    """Prints what was found; returns the exit status.

    Args:
      ask: a service's name -> its answer; pip-audit by default.
    """
    reasons = []
    for service in _SERVICES:
        answer = (ask or _pip_audit)(service)
        verdict = judge(answer.report) if answer.report else None
        if verdict and verdict.audited:
            return _tell(service, verdict)
        lines = answer.error.strip().splitlines()
        reasons.append(f"{service}: " + ("it knows none of the packages" if verdict else (lines or ["no answer"])[-1]))
    print(f"not audited: {'; '.join(reasons)}")
    return 0


def judge(report: str) -> Verdict:
    """Reads pip-audit's JSON."""
    packages = json.loads(report)["dependencies"]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    holes = {
        hole[
            "id"
        ]: f"{package['name']} {package['version']}, mended in {', '.join(hole['fix_versions']) or 'no version'}"
        for package in packages
        for hole in package.get("vulns", ())
    }
    return Verdict(len(packages) - len(unknown), holes, unknown)


def _tell(service: str, verdict: Verdict) -> int:
    print(f"{verdict.audited} packages audited by {service}")
    if verdict.unknown:
        print(f"not audited: {', '.join(verdict.unknown)}")
    for name, what in verdict.holes.items():
        print(f"{name}: {what}" + (f" (excepted: {EXCEPTIONS[name]})" if name in EXCEPTIONS else ""))
    for name in EXCEPTIONS.keys() - verdict.holes.keys():
        print(f"{name} is excepted and not there any more; take it out of tools/audit.py")
    return 1 if verdict.holes.keys() - EXCEPTIONS.keys() else 0


def _pip_audit(service: str) -> Answer:
    command = [sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off"]
    done = subprocess.run(  # nosec B603  # pip-audit
        [*command, f"--vulnerability-service={service}"], capture_output=True, text=True
    )
    return Answer(done.stdout, done.stderr)


if __name__ == "__main__":
    sys.exit(main())
