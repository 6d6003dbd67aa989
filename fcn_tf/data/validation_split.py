"""The validation split of a data set that has none: each example's side follows from its own name."""

import functools
import hashlib
import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fcn_tf.data.base import Example
from fcn_tf.io import shards

SHARE = 0.2  # of the examples that are held out, on average
_LEAST, _LEAST_SHARE = 3, 0.05  # held out examples, and share of all, that scores should be from where it can be had
_TRIED = 1000  # seeds

Rule = Callable[[Sequence[str]], frozenset[str]]  # keys of all examples, in order -> keys of those held out


def key(example: Example, data_dir: str) -> str:
    """What an example is known by: the path of its photo in the data set, without extension; "" if it is generated."""
    path = shards.name_below(example.image, data_dir)
    return unicodedata.normalize("NFC", os.path.splitext(path)[0])  # some file systems decompose ä


def by_name(seed: int, known: Mapping[str, str] | None = None) -> Rule:
    """Holds out the examples whose hash, of the seed and the key, lies in the first fifth of all hashes.

    So files that come or go move no other. Only where a side would stay empty, one example changes it: of those that
    are not known to be trained on the one with the smallest hash, or the one with the largest.

    Args:
      seed: another one makes another split.
      known: {key: "train" or "validation"} of examples whose side is decided.
    """
    return functools.partial(_by_name, seed=seed, known=known or {})


def _by_name(keys: Sequence[str], *, seed: int, known: Mapping[str, str]) -> frozenset[str]:
    if len(keys) < 2:
        return frozenset()
    place = {each: _place(seed, each) for each in keys}
    held = {each for each in keys if (known[each] == "validation" if each in known else place[each] < SHARE)}
    if not held:
        held.add(min(keys, key=lambda each: (known.get(each) == "train", place[each])))
    elif len(held) == len(place):
        held.remove(max(keys, key=lambda each: (known.get(each) != "validation", place[each])))
    return frozenset(held)


def _place(seed: int, each: str) -> float:
    """In [0, 1), the same on every machine."""
    digest = hashlib.sha256(f"{seed}/{each}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8]) / 2**64


def by_count(seed: int) -> Rule:
    """Draws a fifth of the examples by their number, as runs without examples.json did: one more moves many others."""
    return functools.partial(_by_count, seed=seed)


def _by_count(keys: Sequence[str], *, seed: int) -> frozenset[str]:
    if len(keys) < 2:
        return frozenset()
    count = max(1, round(SHARE * len(keys)))
    return frozenset(keys[i] for i in np.random.default_rng([seed, len(keys)]).permutation(len(keys))[:count])


def too_few(keys: Sequence[str], seed: int) -> tuple[str, str] | None:
    """Where `by_name` holds out so few that scores say little, though a fifth would be more.

    Args:
      keys: of all examples.
      seed: of the rule.

    Returns:
      What is wrong, and the flags that mend it, as parts of a sentence; None where there are enough.
    """
    held, wanted = len(_by_name(keys, seed=seed, known={})), round(SHARE * len(keys))
    if held >= max(_LEAST, _LEAST_SHARE * len(keys)) or held >= wanted:
        return None
    _, better, count = min(
        (abs(count - wanted), other, count)
        for other in range(seed + 1, seed + 1 + _TRIED)
        for count in [sum(_place(other, each) < SHARE for each in keys)]
    )
    return (
        f"only {held} of {len(keys)} photos {'is' if held == 1 else 'are'} held out for validation, so scores say "
        "little: each photo's side follows from its own name and --seed, a fifth on average",
        f"--seed={better}, which holds out {count}; or --holdout=PREFIX, which holds out those whose names start so",
    )
