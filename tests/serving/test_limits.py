"""Room: what is held at once stays within the bound, first come, first served, whoever gives up meanwhile."""

import asyncio

import pytest

from fcn_tf.serving.limits import Limits, Refusal, Room


def test_refusals_are_one_line():
    refusal = Refusal(413, "too\n  large", headers={"Retry-After": "1"})
    assert (str(refusal), refusal.status, refusal.headers) == ("too large", 413, {"Retry-After": "1"})


def test_limits_by_hand():
    limits = Limits(upload_bytes=10, pixels=7, seconds=1.0, requests=3)
    assert (limits.held_bytes, limits.held_pixels) == (80, 14)


@pytest.mark.parametrize("gives_up", [None, 1, 2])
def test_room_is_given_in_order(gives_up):
    """10 are free: 6 go in, 5 and 4 wait for them although 4 would fit, and 99 waits until all is free."""

    async def main():
        room, entered, go_on = Room(10), [], asyncio.Event()

        async def hold(name, amount):
            async with room.hold(amount):
                entered.append(name)
                await go_on.wait()

        tasks = [asyncio.create_task(hold(i, amount)) for i, amount in enumerate((6, 5, 4, 99))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert entered == [0]
        if gives_up:
            tasks[gives_up].cancel()
            await asyncio.wait([tasks[gives_up]])
            assert entered == ([0, 2] if gives_up == 1 else [0])
        go_on.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert entered == [i for i in range(4) if i != gives_up]
        async with asyncio.timeout(60), room.hold(10):  # all of it has been given back
            pass

    asyncio.run(main())


def test_room_is_given_back_by_who_gives_up_the_moment_it_is_let_in():
    async def main():
        room = Room(1)

        async def hold():
            async with room.hold(1):
                pass

        async with room.hold(1):
            task = asyncio.create_task(hold())
            await asyncio.sleep(0)
        task.cancel()  # its turn has come, and it has not run yet
        await asyncio.wait([task])
        assert task.cancelled()
        async with asyncio.timeout(60), room.hold(1):
            pass

    asyncio.run(main())
