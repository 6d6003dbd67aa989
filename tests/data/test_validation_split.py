"""The split of a data set that has none: it follows from names, whoever comes or goes."""

import numpy as np
import pytest

from fcn_tf.data import validation_split
from fcn_tf.data.base import Example

KEYS = [f"images/{number}" for number in range(400)]


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_files_that_come_or_go_move_no_other(seed):
    rule = validation_split.by_name(seed)
    held = rule(KEYS)
    assert abs(len(held) / len(KEYS) - validation_split.SHARE) < 0.06  # three standard deviations
    for number in range(0, 400, 40):
        assert rule(KEYS[:number] + KEYS[number + 1 :]) == held - {KEYS[number]}
    assert rule(["images/new", *KEYS]) - {"images/new"} == held
    assert rule(KEYS[::-1]) == held  # the order does not matter either


def test_another_seed_makes_another_split():
    assert len({validation_split.by_name(seed)(KEYS) for seed in range(5)}) == 5


def test_the_split_is_the_same_on_every_machine():
    # sha256("0/images/4") begins with 2e, and 0x2e / 256 = 0.18.
    assert validation_split.by_name(0)(KEYS[:6]) == {"images/4"}


@pytest.mark.parametrize("count", [2, 3, 5, 9])
def test_neither_side_is_empty(count):
    for seed in range(200):
        assert 1 <= len(validation_split.by_name(seed)(KEYS[:count])) <= count - 1


def test_one_example_alone_trains():
    assert validation_split.by_name(0)(["images/4"]) == validation_split.by_count(0)(["images/4"]) == frozenset()


def test_sides_that_are_decided_stay():
    free = validation_split.by_name(0)(KEYS)
    known = {key: "train" if key in free else "validation" for key in KEYS[:100]}
    held = validation_split.by_name(0, known)(KEYS)
    assert held & set(KEYS[:100]) == set(KEYS[:100]) - free  # the other way round
    assert held & set(KEYS[100:]) == free & set(KEYS[100:])


def test_a_side_that_became_empty_gets_what_was_not_trained_on():
    known = {"images/a": "train", "images/b": "train"}
    assert validation_split.by_name(0, known)(["images/a", "images/b", "images/c"]) == {"images/c"}
    assert len(validation_split.by_name(0, known)(["images/a", "images/b"])) == 1  # there is no other


def test_by_count_is_the_rule_of_earlier_runs():
    held = validation_split.by_count(3)(KEYS[:10])
    assert held == {KEYS[i] for i in np.random.default_rng([3, 10]).permutation(10)[:2]}
    assert len(validation_split.by_count(3)(KEYS[:2])) == 1


def test_the_key_is_the_path_in_the_data_set():
    assert validation_split.key(Example("a", "my/data/images/a.b.jpg"), "my/data") == "images/a.b"
    assert validation_split.key(Example("a", "my/data/images/a.jpg"), "my/data/") == "images/a"
    piece = "out/train-00000-of-00001.tfrecord#images/a.jpg@0+9~00000000"
    assert validation_split.key(Example("a", piece), "out") == "images/a"
    assert validation_split.key(Example("a", "d/Ba\u0308r.jpg"), "d") == "B\u00e4r"  # decomposed
    assert validation_split.key(Example("scene7"), "") == ""


def held_out(keys, seed):
    return len(validation_split.by_name(seed)(keys))


def test_a_draw_of_too_few_names_a_seed_that_holds_out_a_fifth():
    keys = KEYS[:20]
    seed = next(seed for seed in range(1000) if held_out(keys, seed) == 1)
    what, fix = validation_split.too_few(keys, seed)
    assert what.startswith("only 1 of 20 photos is held out for validation")
    better = int(fix.partition("=")[2].partition(",")[0])
    assert held_out(keys, better) == 4 and ", which holds out 4; or --holdout=PREFIX" in fix
    assert validation_split.too_few(keys, better) is None


def test_a_draw_is_enough_where_a_fifth_is_no_more():
    for seed in range(100):
        assert validation_split.too_few(KEYS[:7], seed) is None  # 1 of 7
        held = held_out(KEYS[:25], seed)
        assert (validation_split.too_few(KEYS[:25], seed) is None) == (held >= 3)
    assert any(held_out(KEYS[:25], seed) < 3 for seed in range(100))
