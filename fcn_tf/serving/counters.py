"""What the server counts, in Prometheus' text format."""

import collections
import threading

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BATCH_SIZES = (1, 2, 4, 8)  # bounds of the histogram


class Counters:
    """Counts requests and batches; may be used by several threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: collections.Counter[tuple[str, int]] = collections.Counter()
        self._seconds: collections.defaultdict[str, float] = collections.defaultdict(float)
        self._batches: collections.Counter[int] = collections.Counter()
        self._model_seconds = 0.0

    def request(self, path: str, status: int, seconds: float) -> None:
        """Counts a request that was answered with this status, so long after it came."""
        with self._lock:
            self._requests[path, status] += 1
            self._seconds[path] += seconds

    def batch(self, pictures: int, seconds: float) -> None:
        """Counts a batch of so many pictures, and how long the model took."""
        with self._lock:
            self._batches[pictures] += 1
            self._model_seconds += seconds

    def text(self, *, queue_length: int, requests_open: int) -> str:
        """All of it.

        Args:
          queue_length: pictures that wait for the model now.
          requests_open: requests for labels that are not answered yet.
        """
        with self._lock:
            requests, seconds = dict(self._requests), dict(self._seconds)
            batches, model_seconds = dict(self._batches), self._model_seconds
        by_path: collections.Counter[str] = collections.Counter()
        for (path, _), count in requests.items():
            by_path[path] += count
        done = sum(batches.values())
        sizes = [(str(most), sum(n for size, n in batches.items() if size <= most)) for most in _BATCH_SIZES]
        families: dict[tuple[str, str, str], list[tuple[str, float]]] = {
            ("requests_total", "counter", "Requests by path and status."): [
                (f'_total{{path="{path}",status="{status}"}}', count)
                for (path, status), count in sorted(requests.items())
            ],
            ("request_seconds", "summary", "Time from a request to its answer, by path."): [
                (f'{part}{{path="{path}"}}', value)
                for path in sorted(by_path)
                for part, value in (("_sum", seconds[path]), ("_count", by_path[path]))
            ],
            ("requests_open", "gauge", "Requests for labels that are not answered yet."): [("", requests_open)],
            ("queue_length", "gauge", "Pictures that wait for the model."): [("", queue_length)],
            ("batch_size", "histogram", "Pictures that went through the model together."): [
                *((f'_bucket{{le="{most}"}}', count) for most, count in (*sizes, ("+Inf", done))),
                ("_sum", sum(size * n for size, n in batches.items())),
                ("_count", done),
            ],
            ("model_seconds_total", "counter", "Time that the model was at work."): [("_total", model_seconds)],
        }
        lines = []
        for (name, kind, what), samples in families.items():
            lines += [f"# HELP fcn_tf_{name} {what}", f"# TYPE fcn_tf_{name} {kind}"]
            lines += [f"fcn_tf_{name.removesuffix('_total')}{sample} {value}" for sample, value in samples]
        return "\n".join(lines) + "\n"
