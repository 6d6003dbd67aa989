"""Reading, labelling and writing at the same time: order, errors, and what is in memory at once."""

import threading

import pytest

from fcn_tf.inference import overlap


def outcomes(items, **stages):
    stages = {"read": lambda item: item, "label": lambda item, x: x, "write": lambda item, x: x} | stages
    return [
        (item, result.result() if result.exception() is None else result.exception())
        for item, result in overlap.overlapped(items, **stages)
    ]


def test_items_come_out_in_order():
    found = outcomes(range(20), read=lambda i: 2 * i, label=lambda i, x: x + 1, write=lambda i, x: (i, x))
    assert found == [(i, (i, 2 * i + 1)) for i in range(20)]
    assert outcomes([]) == []


@pytest.mark.parametrize("stage", ["read", "label", "write"])
def test_an_error_is_that_of_its_item(stage):
    def fails(item, *_):
        if item in (0, 3, 4):
            raise ValueError(item)
        return item

    found = outcomes(range(6), **{stage: fails})
    assert [item for item, _ in found] == list(range(6))
    for item, result in found:
        assert isinstance(result, ValueError) if item in (0, 3, 4) else result == item


def test_the_next_is_read_while_one_is_labelled():
    reading = {i: threading.Event() for i in range(5)}

    def label(item, picture):
        assert item == 4 or reading[item + 1].wait(60)
        return picture

    assert len(outcomes(range(5), read=lambda i: reading[i].set(), label=label)) == 5


def test_a_large_picture_is_alone():
    under_way: set[int] = set()
    beside: dict[int, set[int]] = {}

    def read(item):
        under_way.add(item)
        return item

    def label(item, picture):
        beside[item] = under_way - {item}
        return picture

    def write(item, picture):
        under_way.discard(item)

    outcomes(range(9), read=read, label=label, write=write, alone=lambda item: item == 4)
    assert beside[4] == set() and not under_way
    assert all(len(others) <= 1 + overlap._BACKLOG + 1 for others in beside.values())
