"""Saving and restoring a handful of variables, and what can have happened to the files in between."""

import itertools
import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_tf.errors import UserError
from fcn_tf.io import checksums, files
from fcn_tf.models.dropout import StepDropout
from fcn_tf.training.checkpoints import Checkpoints, sweep
from tests import disks


def model(units=2, name="dense"):
    layers = [keras.layers.Dense(units, name=name), StepDropout(0.5), keras.layers.Dense(1, name="last")]
    return keras.Sequential([keras.Input((3,)), *layers], name="model")


def values(network):
    return [np.array(variable) for variable in network.variables]


def saved(folder, *steps):
    """A network saved after each of `steps`, with its weights set to the step."""
    network = model()
    checkpoints = Checkpoints(str(folder), network.variables)
    for step in steps:
        for variable in network.trainable_variables:
            variable.assign(np.full(variable.shape, step))
        checkpoints.save(step)
    return network


def restored(folder, network=None):
    network = network or model()
    return Checkpoints(str(folder), network.variables).restore(), network


def test_everything_comes_back_the_dropout_seed_too(tmp_path):
    network = saved(tmp_path, 3)
    network(np.ones((1, 3)), training=True)  # the seed moves on
    Checkpoints(str(tmp_path), network.variables).save(4)
    step, copy = restored(tmp_path)
    assert step == 4 and len(copy.variables) == 5
    for got, want in zip(values(copy), values(network), strict=True):
        np.testing.assert_array_equal(got, want)


def test_an_optimizer_comes_back(tmp_path):
    def train(network, optimizer, steps):
        for _ in range(steps):
            gradients = [tf.ones_like(variable.value) for variable in network.trainable_variables]
            optimizer.apply(gradients, network.trainable_variables)

    def new():
        network, optimizer = model(), keras.optimizers.Adam(0.1, name="adam")
        optimizer.build(network.trainable_variables)
        return network, optimizer, Checkpoints(str(tmp_path), [*network.variables, *optimizer.variables])

    network, optimizer, checkpoints = new()
    train(network, optimizer, 3)
    checkpoints.save(3)
    train(network, optimizer, 2)
    copy, its_optimizer, its_checkpoints = new()
    assert its_checkpoints.restore() == 3
    train(copy, its_optimizer, 2)
    for got, want in zip(values(copy), values(network), strict=True):
        np.testing.assert_array_equal(got, want)


def test_an_empty_folder_is_step_0(tmp_path):
    assert restored(tmp_path / "none")[0] == 0
    assert Checkpoints(str(tmp_path / "none"), model().variables).latest is None


def test_the_newest_two_are_kept_by_the_name_of_their_step(tmp_path):
    saved(tmp_path, 10, 20, 30)
    indices = [name for name in os.listdir(tmp_path) if name.endswith(".index")]
    assert sorted(indices) == ["ckpt-20.index", "ckpt-30.index"]
    network = model()
    checkpoints = Checkpoints(str(tmp_path), network.variables)  # another process
    assert checkpoints.latest == str(tmp_path / "ckpt-30")
    checkpoints.save(40)
    indices = [name for name in os.listdir(tmp_path) if name.endswith(".index")]
    assert sorted(indices) == ["ckpt-30.index", "ckpt-40.index"]


def names(folder):
    return sorted(os.listdir(folder))


def test_the_best_is_kept_beside_the_newest_two(tmp_path):
    network = saved(tmp_path, 10)
    checkpoints = Checkpoints(str(tmp_path), network.variables)
    for step, best in ((20, 10), (30, 10), (40, 10), (50, 40), (60, 40), (70, 40), (80, 999)):
        checkpoints.save(step, best=best)
        kept = {60, 70, 40} if step == 70 else {10, 30, 40} if step == 40 else {step - 10, step, best}
        kept &= set(range(0, step + 1, 10))
        assert {int(path.stem[5:]) for path in tmp_path.glob("*.index")} == kept
        assert {int(path.name[6:-5]) for path in tmp_path.glob("notes-*.json")} == kept
        assert len(names(tmp_path)) == 4 * len(kept) + 1  # an index, data, checksums and notes each, and the list
        listed = tf.train.get_checkpoint_state(str(tmp_path)).all_model_checkpoint_paths
        assert [int(path.rpartition("-")[2]) for path in listed] == sorted(kept)


def test_an_older_one_is_restored_and_what_came_after_is_dropped(tmp_path):
    network = saved(tmp_path, 10)
    checkpoints = Checkpoints(str(tmp_path), network.variables)
    for step in (20, 30):
        checkpoints.save(step, best=10)
    network = model()
    checkpoints = Checkpoints(str(tmp_path), network.variables)
    assert checkpoints.restore(10) == 10 and (network.get_layer("dense").bias.numpy() == 10).all()
    assert Checkpoints(str(tmp_path), network.variables, writer=False).drop_after(10) == []
    assert checkpoints.drop_after(10) == [20, 30] and checkpoints.drop_after(10) == []
    left = ["checkpoint", "ckpt-10.data-00000-of-00001", "ckpt-10.index", "ckpt-10.json", "notes-10.json"]
    assert names(tmp_path) == left
    with pytest.raises(UserError, match="ckpt-30 cannot be read"):
        checkpoints.restore(30)


@pytest.mark.parametrize("drop", [False, True], ids=["save", "drop"])
@pytest.mark.parametrize("after", range(5))
def test_a_kill_while_removing_leaves_no_half_that_looks_whole(tmp_path, monkeypatch, after, drop):
    network = saved(tmp_path, 10)
    checkpoints = Checkpoints(str(tmp_path), network.variables)
    checkpoints.save(20, best=10)
    checkpoints.save(30, best=10)
    left, remove = [after], files.remove

    def killed(path):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        remove(path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "remove", killed)
        try:
            checkpoints.drop_after(10) if drop else checkpoints.save(40, best=40)
        except KeyboardInterrupt:
            pass
    for path in tmp_path.glob("*.index"):
        assert path.with_suffix(".data-00000-of-00001").exists()
        assert (tmp_path / f"notes-{path.stem[5:]}.json").exists()
    step, network = restored(tmp_path)
    assert step in (10, 20, 30, 40)
    checkpoints = Checkpoints(str(tmp_path), network.variables)
    checkpoints.save(50)
    assert len(names(tmp_path)) == 4 * len(list(tmp_path.glob("*.index"))) + 1, "the halves are gone"


class Killed(BaseException):
    """The process is gone."""


def test_a_kill_at_any_point_of_a_save_costs_that_save_alone(tmp_path, monkeypatch):
    """After a kill nothing is tidied up either, so from then on every change of the disk fails."""
    whole = tmp_path / "whole"
    saved(whole, 3, 6)
    for count in itertools.count():
        folder = tmp_path / str(count)
        shutil.copytree(whole, folder)
        checkpoints, left = Checkpoints(str(folder), model().variables), [count]

        def dying(function, left=left):
            def call(*arguments, **options):
                if not left[0]:
                    raise Killed
                left[0] -= 1
                return function(*arguments, **options)

            return call

        try:
            with monkeypatch.context() as patch:
                for name in ("mkdir", "replace", "remove", "unlink", "rmdir", "fsync"):
                    patch.setattr(os, name, dying(getattr(os, name)))
                checkpoints.save(9)
            break
        except Killed:
            step, network = restored(folder)
            assert step in (6, 9) and (step == 9 or (network.get_layer("dense").bias.numpy() == 6).all())
            assert not list(folder.glob("*.damaged")) and not list(folder.glob("*_temp"))
            Checkpoints(str(folder), network.variables).save(12)
            assert restored(folder)[0] == 12 and len(names(folder)) == 4 * 2 + 1
    assert count > 15, "a save takes as many changes of the disk"


def test_notes_stay_beside_their_checkpoint(tmp_path):
    network = saved(tmp_path, 10)
    checkpoints = Checkpoints(str(tmp_path), network.variables)
    assert checkpoints.notes(10) == {} == checkpoints.notes(11)
    (tmp_path / "notes-15.json").write_text("{}")  # of a save that was killed
    for step in (20, 30):
        checkpoints.save(step, {"about": step})
    assert checkpoints.notes(20) == {"about": 20} and checkpoints.notes(30) == {"about": 30}
    assert sorted(path.name for path in tmp_path.glob("notes-*")) == ["notes-20.json", "notes-30.json"]
    (tmp_path / "notes-30.json").write_text("{")
    assert checkpoints.notes(30) == {}


@pytest.mark.parametrize(
    "other, said",
    [
        (lambda: model(units=4), r"dense/bias is \[2\] there and \[4\] here"),
        (lambda: model(name="other"), "absent here"),
    ],
    ids=["another width", "another name"],
)
def test_another_network_is_refused_and_left_as_it_was(tmp_path, other, said):
    saved(tmp_path, 3)
    network = other()
    before = values(network)
    with pytest.raises(UserError, match=said) as caught:
        restored(tmp_path, network)
    assert "ckpt-3" in str(caught.value) and "--logs_dir" in str(caught.value) and "\n" not in str(caught.value)
    for got, want in zip(values(network), before, strict=True):
        np.testing.assert_array_equal(got, want)


def test_the_same_variables_in_another_order_are_refused(tmp_path):
    network = saved(tmp_path, 3)
    with pytest.raises(UserError, match="another order"):
        Checkpoints(str(tmp_path), network.variables[::-1]).restore()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_not_saved(tmp_path, value):
    network = saved(tmp_path, 3)
    network.get_layer("dense").bias.assign([value, 0])
    with pytest.raises(FloatingPointError, match="dense/bias"):
        Checkpoints(str(tmp_path), network.variables).save(4)
    step, copy = restored(tmp_path)
    assert step == 3 and all(np.isfinite(array).all() for array in values(copy))


def test_what_a_kill_left_behind_is_swept(tmp_path):
    saved(tmp_path, 3)
    (tmp_path / "ckpt-4_temp").mkdir()
    (tmp_path / "ckpt-4_temp" / "part-00000-of-00001.data-00000-of-00001.tempstate123").write_bytes(b"half")
    (tmp_path / "checkpoint.tmp0123456789abcdef0123456789abcdef").write_bytes(b"half")
    (tmp_path / ".0123456789ab.tmp").write_bytes(b"half")
    assert restored(tmp_path)[0] == 3
    names = ["checkpoint", "ckpt-3.data-00000-of-00001", "ckpt-3.index", "ckpt-3.json", "notes-3.json"]
    assert sorted(os.listdir(tmp_path)) == names
    sweep(str(tmp_path))  # and again, with nothing to do


def test_nothing_else_is_swept_and_no_link_is_followed(tmp_path):
    folder, elsewhere = tmp_path / "checkpoints", tmp_path / "elsewhere"
    for name in ("best_template", "room_temp", "ckpt-best_temp", "ckpt-4_temp.bak", "checkpoint.tmp"):
        (folder / name).mkdir(parents=True)
        (folder / name / "mine").write_bytes(b"x")
    for name in ("checkpoint.tmp1", "a.tempstate1", ".notes.tmp", ".0123456789AB.tmp", ".0123456789ab.tmp.txt"):
        (folder / name).write_bytes(b"x")
    elsewhere.mkdir()
    (elsewhere / "mine").write_bytes(b"x")
    for name in ("ckpt-5_temp", "warm_temp", ".0123456789ab.tmp", f"checkpoint.tmp{'0' * 32}"):
        (folder / name).symlink_to(elsewhere, target_is_directory=True)
    before = sorted(folder.rglob("*"))
    sweep(str(folder))
    assert sorted(folder.rglob("*")) == before and os.listdir(elsewhere) == ["mine"]
    (folder / "ckpt-6_temp").mkdir()
    (folder / "ckpt-6_temp" / "link").symlink_to(elsewhere, target_is_directory=True)
    sweep(str(folder))
    assert sorted(folder.rglob("*")) == before and os.listdir(elsewhere) == ["mine"]


def truncate(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 255
    path.write_bytes(bytes(data))


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "name, damage",
    [(".index", truncate), (".index", flip), (".index", empty)]
    + [(".data-00000-of-00001", damage) for damage in (truncate, flip, empty, os.remove)],
)
def test_a_damaged_checkpoint_without_checksums_is_one_line_that_says_how_to_go_on(tmp_path, name, damage):
    saved(tmp_path, 3, 6)
    (tmp_path / "ckpt-6.json").unlink()
    damage(tmp_path / f"ckpt-6{name}")
    with pytest.raises(UserError) as caught:
        restored(tmp_path)
    message = str(caught.value)
    assert f"remove {tmp_path}/ckpt-6.*" in message and "\n" not in message
    for path in tmp_path.glob("ckpt-6.*"):
        path.unlink()
    step, network = restored(tmp_path)
    assert step == 3 and (network.get_layer("dense").bias.numpy() == 3).all()


DATA = ".data-00000-of-00001"


@pytest.mark.parametrize(
    "name, damage, said",
    [
        ("ckpt-6.index", truncate, "bytes, expected"),
        ("ckpt-6.index", flip, "has the checksum"),
        (f"ckpt-6{DATA}", flip, "has the checksum"),
        (f"ckpt-6{DATA}", os.remove, "is missing"),
        ("notes-6.json", flip, "has the checksum"),
        ("notes-6.json", os.remove, "is missing"),
        ("ckpt-6.json", empty, "is no record of checksums"),
        ("ckpt-6.json", flip, "ckpt-6"),
    ],
)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_used(tmp_path, capsys, name, damage, said):
    saved(tmp_path, 3, 6)
    damage(tmp_path / name)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*6*")}
    step, network = restored(tmp_path)
    assert step == 3 and (network.get_layer("dense").bias.numpy() == 3).all()
    printed = capsys.readouterr().out
    assert f"{tmp_path}: ckpt-6 is damaged: " in printed and said in printed and printed.count("\n") == 1
    assert {path.name.removesuffix(".damaged"): path.read_bytes() for path in tmp_path.glob("*6*")} == before
    assert all(path.suffix == ".damaged" for path in tmp_path.glob("*6*"))
    checkpoints = Checkpoints(str(tmp_path), network.variables)
    for step in (4, 5, 6):
        checkpoints.save(step)
    assert restored(tmp_path)[0] == 6 and len(list(tmp_path.glob("*.damaged"))) == len(before)


def test_every_flipped_bit_of_a_checkpoint_is_found(tmp_path):
    saved(tmp_path, 6)
    rng = np.random.default_rng(0)
    for path in (tmp_path / "ckpt-6.index", tmp_path / f"ckpt-6{DATA}"):
        data = path.read_bytes()
        for place in rng.integers(8 * len(data), size=100):
            harmed = bytearray(data)
            harmed[place // 8] ^= 1 << place % 8
            path.write_bytes(harmed)
            assert path.name in checksums.problem(str(tmp_path / "ckpt-6.json"))
        path.write_bytes(data)
    assert checksums.problem(str(tmp_path / "ckpt-6.json")) is None


def test_the_last_checkpoint_stays_where_it_is(tmp_path):
    """Set aside, the next start would begin anew in silence, and overwrite the history."""
    saved(tmp_path, 3, 6)
    for step in (3, 6):
        flip(tmp_path / f"ckpt-{step}{DATA}")
    before = names(tmp_path)
    with pytest.raises(UserError, match=r"ckpt-6 is damaged.*; ckpt-3 is damaged.*no other checkpoint is left"):
        restored(tmp_path)
    assert names(tmp_path) == before


def test_the_best_that_is_damaged_is_set_aside_and_said(tmp_path):
    network = saved(tmp_path, 3, 6)
    flip(tmp_path / f"ckpt-3{DATA}")
    with pytest.raises(UserError, match=r"ckpt-3 is damaged: .* set aside as \*\.damaged\. Run the same command again"):
        Checkpoints(str(tmp_path), network.variables).restore(3)
    assert restored(tmp_path)[0] == 6


def test_a_checkpoint_of_a_version_without_checksums(tmp_path):
    saved(tmp_path, 3, 6)
    for path in (*tmp_path.glob("ckpt-*.json"), *tmp_path.glob("notes-*.json")):
        path.unlink()
    assert restored(tmp_path)[0] == 6


def test_a_save_is_on_the_disk_before_it_counts(tmp_path, monkeypatch):
    """Files first, then the names in the folder; the index is there last."""
    network = saved(tmp_path, 3)
    checkpoints, calls = Checkpoints(str(tmp_path), network.variables), []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda handle: (calls.append(os.readlink(f"/proc/self/fd/{handle}")), fsync(handle))
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append(f"{a} -> {b}"), replace(a, b)))
    checkpoints.save(6)
    folder = f"{tmp_path}/ckpt-6_temp/ckpt"
    moved = calls.index(f"{folder}.index -> {tmp_path}/ckpt-6.index")
    before = calls[:moved]
    assert {f"{folder}.index", f"{folder}{DATA}"} <= {*before} and any("notes-6.json" in call for call in before)
    assert f"{folder}{DATA} -> {tmp_path}/ckpt-6{DATA}" in before and any(
        "-> " + f"{tmp_path}/ckpt-6.json" in c for c in before
    )
    assert calls[moved + 1] == str(tmp_path)


def test_a_worker_that_is_not_the_chief_restores_and_writes_nothing(tmp_path):
    saved(tmp_path, 3)
    before = sorted(os.listdir(tmp_path))
    checkpoints = Checkpoints(str(tmp_path), model().variables, writer=False)
    assert checkpoints.restore() == 3
    checkpoints.save(4)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("relative", [False, True])
def test_a_moved_folder_is_the_same_run(tmp_path, monkeypatch, relative):
    monkeypatch.chdir(tmp_path)
    saved("here" if relative else tmp_path / "here", 3, 6)
    (tmp_path / "here").rename(tmp_path / "there")
    network = model()
    checkpoints = Checkpoints("there" if relative else str(tmp_path / "there"), network.variables)
    assert checkpoints.restore() == 6 and tf.train.latest_checkpoint("there").endswith("there/ckpt-6")
    checkpoints.save(7)
    assert sorted(path.stem for path in (tmp_path / "there").glob("*.index")) == ["ckpt-6", "ckpt-7"]


@pytest.mark.parametrize("damage", [truncate, os.remove, lambda path: path.write_bytes(b"\xff\xfe")])
def test_the_list_of_checkpoints_is_made_again_where_it_is_lost(tmp_path, damage):
    """Starting at step 0 in silence would overwrite the run."""
    saved(tmp_path, 9, 10)
    damage(tmp_path / "checkpoint")
    network = model()
    checkpoints = Checkpoints(str(tmp_path), network.variables)
    assert checkpoints.restore() == 10
    checkpoints.save(11)
    assert sorted(path.stem for path in tmp_path.glob("*.index")) == ["ckpt-10", "ckpt-11"]


def test_a_full_disk_is_one_line_and_the_save_before_stays(tmp_path):
    network = saved(tmp_path, 3)
    before = sorted(os.listdir(tmp_path))
    checkpoints = Checkpoints(str(tmp_path), network.variables)
    with disks.no_file_larger_than(100), pytest.raises(UserError) as caught:
        checkpoints.save(4)
    message = str(caught.value)
    assert "step 4" in message and "(File too large)" in message and "\n" not in message
    assert message.endswith(f"continue from {tmp_path}/ckpt-3.")
    assert sorted(os.listdir(tmp_path)) == before
    checkpoints.save(4)  # there is room again
    assert restored(tmp_path)[0] == 4


def test_a_full_disk_at_the_first_save_leaves_nothing(tmp_path):
    checkpoints = Checkpoints(str(tmp_path), model().variables)
    with disks.no_file_larger_than(100), pytest.raises(UserError, match="no checkpoint was saved before"):
        checkpoints.save(4)
    assert not os.listdir(tmp_path)


def test_half_a_checkpoint_that_looks_whole_is_removed(tmp_path, monkeypatch):
    """TensorFlow writes the index in place, so it may be there and cut short."""
    checkpoints = Checkpoints(str(tmp_path), saved(tmp_path, 3).variables)

    def fail(*_, **__):
        for name in ("ckpt-30.index", "ckpt-30.data-00000-of-00001"):
            (tmp_path / name).write_bytes(b"half")
        (tmp_path / "ckpt-30_temp").mkdir(exist_ok=True)
        raise tf.errors.ResourceExhaustedError(None, None, "ckpt-30.index; No space left on device")

    monkeypatch.setattr(checkpoints._checkpoint, "write", fail)
    with pytest.raises(UserError, match=r"\(No space left on device\).* continue from .*ckpt-3\.$"):
        checkpoints.save(30)
    assert not list(tmp_path.glob("*30*")) and restored(tmp_path)[0] == 3


def test_another_error_while_saving_stays_as_it_is(tmp_path, monkeypatch):
    checkpoints = Checkpoints(str(tmp_path), model().variables)

    def fail(*_, **__):
        raise tf.errors.InternalError(None, None, "a fault of ours")

    monkeypatch.setattr(checkpoints._checkpoint, "write", fail)
    with pytest.raises(tf.errors.InternalError):
        checkpoints.save(4)
