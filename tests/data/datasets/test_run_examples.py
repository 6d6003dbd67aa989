"""What a run knows of its examples: who came, who went, and that no photo is trained on and validated on."""

import json

import numpy as np
import pytest

import main
from fcn_tf.config import Config
from fcn_tf.data import datasets
from fcn_tf.data.datasets import run_examples
from fcn_tf.errors import UserError
from fcn_tf.io.run_dir import Run
from tests import tiny_training
from tests.prepared import make, write


def photos(root, numbers, images="images", masks="masks", suffix="png"):
    for number in numbers:
        image, label = tiny_training.scene(number)
        write(root / images / f"{number}.{suffix}", image)
        write(root / masks / f"{number}.png", label)


@pytest.fixture
def data(tmp_path):
    """Twenty photos, without a validation split."""
    photos(tmp_path / "data", range(20))
    return tmp_path / "data"


def start(run, data, name="folder", **flags):
    """What a start of a training does before it trains."""
    config = Config(dataset=name, data_dir=str(data), logs_dir=run.logs_dir, **flags)
    examples = run_examples.RunExamples(run, name, str(data))
    train, validation = (
        datasets.load(name, str(data), split, **config.data_flags(), split_rule=examples.split_rule)
        for split in ("train", "validation")
    )
    examples.compare(train, validation)
    run.write_config({"flags": config.to_json(), "examples": examples.write(train, validation)})
    return {"train": names(train), "validation": names(validation)}


def names(dataset):
    return {example.name for example in dataset.examples}


def look(run, data, split="validation", name="folder", **flags):
    """The names that --mode=evaluate would score."""
    return names(run_examples.load(run, name, str(data), split, **flags))


@pytest.fixture
def run(tmp_path):
    return Run(str(tmp_path / "run"))


def remove(data, name, images="images", masks="masks"):
    (data / images / f"{name}.png").unlink()
    (data / masks / f"{name}.png").unlink()


def test_what_stays_is_not_mentioned(run, data, capsys):
    sides = start(run, data)
    assert start(run, data) == sides and look(run, data) == sides["validation"]
    assert capsys.readouterr().out == ""
    assert run.read_config()["examples"] == {split: len(each) for split, each in sides.items()}


def test_what_comes_and_goes_is_named_once_and_moves_nobody(run, data, capsys):
    sides = start(run, data)
    gone, held = sorted(sides["train"])[0], sorted(sides["validation"])[0]
    remove(data, gone)
    remove(data, held)
    photos(data, range(20, 60))
    assert look(run, data) & {str(n) for n in range(20)} == sides["validation"] - {held}
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "validation examples added (images/2" in said and "and" in said
    assert f"1 validation example removed (images/{held})" in said and "training" not in said
    look(run, data, "all")
    assert f"1 training example removed (images/{gone}), 1 validation example removed" in capsys.readouterr().out
    again = start(run, data)
    assert again["train"] & sides["validation"] == again["validation"] & sides["train"] == set()
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "training examples added" in said
    assert f"1 training example removed (images/{gone}" in said
    start(run, data)
    assert capsys.readouterr().out == ""


def test_another_seed_of_evaluate_draws_no_trained_photo(run, data):
    sides = start(run, data, seed=4)
    assert look(run, data, seed=7) == sides["validation"]


def test_without_validation_photos_trained_ones_are_refused(run, data):
    for name in start(run, data)["validation"]:
        remove(data, name)
    with pytest.raises(UserError, match=r"1 of 1 validation examples are photos that the run in .*run was trained on"):
        look(run, data)
    with pytest.raises(UserError, match="put them back into the training split or remove them"):
        start(run, data)
    assert len(look(run, data, "train")) > 1
    photos(data, [99])  # not trained on, so it is what is held out
    assert look(run, data) == {"99"}


def test_trained_photos_moved_into_a_validation_folder_are_refused(run, data, capsys):
    sides = start(run, data)
    trained, *others = sorted(sides["train"])
    for kind in ("images", "masks"):
        (data / kind / "val").mkdir()
        (data / kind / f"{trained}.png").rename(data / kind / "val" / f"{trained}.png")
    with pytest.raises(UserError, match=rf"1 of 1 validation .*images/val/{trained}"):
        look(run, data)
    with pytest.raises(UserError, match="images/val"):
        look(run, data.rename(data.parent / "moved"))
    assert look(run, data.parent / "moved", "all") >= sides["train"]
    assert f"{len(sides['train'])} of these 20 images are ones that the run was trained on" in capsys.readouterr().out


def test_a_photo_that_is_trained_on_no_more_stays_known(run, data):
    sides = start(run, data)
    trained = min(sides["train"])
    remove(data, trained)
    start(run, data)
    photos(data, [int(trained)], "images/val", "masks/val")
    with pytest.raises(UserError, match=rf"1 of 1 validation .*images/val/{trained}"):
        look(run, data)


def test_other_photos_of_the_same_names_are_not_those_of_the_run(run, data, tmp_path, capsys):
    start(run, data)
    other = tmp_path / "other"
    for split, number in (("train", 100), ("val", 130)):
        photos(other, range(number, number + 5), f"images/{split}", f"masks/{split}")
        for kind in ("images", "masks"):
            for place, path in enumerate(sorted((other / kind / split).iterdir())):
                path.rename(path.with_name(f"{place}.png"))
    assert look(run, other) == look(run, other, "train") == {str(n) for n in range(5)}
    assert capsys.readouterr().out == ""


def test_numbers_as_names_on_both_sides_are_no_doubt(run, tmp_path):
    for split in ("train", "val"):  # bitmaps: the size of a file does not tell one photo from another
        photos(tmp_path / "data", range(4), f"images/{split}", f"masks/{split}", suffix="bmp")
    start(run, tmp_path / "data")
    assert look(run, tmp_path / "data") == {str(n) for n in range(4)}


def test_records_of_the_same_photos(run, data, tmp_path):
    sides = start(run, data)
    out = make("folder", data, tmp_path / "out")
    assert look(run, out, name="records") == sides["validation"]
    out = make("folder", data, tmp_path / "again", seed=1)
    with pytest.raises(UserError, match="validation examples are photos that the run"):
        look(run, out, name="records")


def test_skipped_examples_are_no_part_of_the_run(run, data, capsys):
    sides = start(run, data)
    held, trained = min(sides["validation"]), min(sides["train"])
    for name in (held, trained):
        (data / f"images/{name}.png").write_bytes(b"damaged")
    options = {"num_classes": 3, "ignore_label": "none", "mask_values": "0-2", "on_bad_example": "skip"}
    assert look(run, data, **options) == sides["validation"] - {held}
    said = capsys.readouterr().out
    assert "skipped 1 of" in said and f"1 validation example removed (images/{held})" in said
    assert start(run, data, **options) == {side: each - {held, trained} for side, each in sides.items()}
    photos(data, [int(held)])
    assert look(run, data) == sides["validation"]


def test_a_run_of_an_earlier_version_keeps_its_split(run, data, capsys):
    run.write_config({"flags": Config(dataset="folder", data_dir=str(data), seed=3).to_json()})
    drawn = np.random.default_rng([3, 20]).permutation(20)[:4]
    expected = {sorted(map(str, range(20)))[i] for i in drawn}
    assert look(run, data, seed=8) == expected
    assert "kept no list of its examples; they are split by their number" in capsys.readouterr().out
    sides = start(run, data, seed=3)
    assert sides["validation"] == expected
    capsys.readouterr()
    photos(data, range(20, 40))
    assert look(run, data) & (sides["train"] | expected) == expected  # known from now on
    assert "kept no list" not in capsys.readouterr().out


def test_data_with_splits_of_its_own(run, tmp_path, capsys):
    data = tiny_training.write_camvid(tmp_path / "camvid")
    run.write_config({"flags": Config(dataset="camvid", data_dir=data).to_json()})  # of an earlier version
    assert look(run, data, name="camvid") == {"0", "1"} and capsys.readouterr().out == ""
    start(run, data, "camvid")
    (tmp_path / "camvid/val/0.png").unlink()
    (tmp_path / "camvid/valannot/0.png").unlink()
    assert look(run, data, name="camvid") == {"1"}
    assert "1 validation example removed (val/0)" in capsys.readouterr().out


def test_a_list_that_is_lost_or_damaged(run, data, capsys):
    sides = start(run, data)
    (data.parent / "run/examples.json").write_text("[")
    with pytest.raises(UserError, match=r"examples\.json is damaged .*; restore it, or remove it"):
        look(run, data)
    (data.parent / "run/examples.json").unlink()
    assert look(run, data) == sides["validation"] and capsys.readouterr().out == ""


def test_label_images_of_others_are_scored_whoever_trained(run, data):
    for name in start(run, data)["validation"]:
        remove(data, name)
    assert len(run_examples.load(run, "folder", str(data), "validation", trained=False)) == 1


def test_trained_resumed_and_evaluated(data, tmp_path, capsys):
    weights = tiny_training.write_weights(str(tmp_path))
    common = [f"--logs_dir={tmp_path}/run", "--eval_every=2", "--save_every=1"]
    asked = [f"--weights={weights}", "--dataset=folder", f"--data_dir={data}", "--image_size=32", "--batch_size=2"]
    assert main.main(["main.py", "--max_steps=1", *common, *asked]) == 0
    kept = json.loads((tmp_path / "run/examples.json").read_text())
    assert len(kept["train"]) + len(kept["validation"]) == 20 and kept["trained_before"] == {}
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["examples"] == {"train": len(kept["train"]), "validation": len(kept["validation"])}
    gone = min(kept["train"])
    remove(data, gone.removeprefix("images/"))
    capsys.readouterr()
    assert main.main(["main.py", "--max_steps=2", *common]) == 0
    said = capsys.readouterr().out
    assert f"note: the examples changed since the run was last started: 1 training example removed ({gone})" in said
    assert json.loads((tmp_path / "run/examples.json").read_text())["trained_before"].keys() == {gone}
    for key in kept["validation"]:
        remove(data, key.removeprefix("images/"))
    for mode in ("evaluate", "visualize", "train"):
        assert main.main(["main.py", f"--mode={mode}", f"--logs_dir={tmp_path}/run"]) == 2
        assert "error: 1 of 1 validation examples are photos that the run" in capsys.readouterr().err


def test_a_run_starts_from_another_that_was_split_alike(data, tmp_path, capsys):
    """Its weights know their training photos, and so do those of a third run."""
    weights = tiny_training.write_weights(str(tmp_path))
    common = ["main.py", f"--weights={weights}", "--dataset=folder", f"--data_dir={data}", "--max_steps=1"]
    common += ["--image_size=32", "--batch_size=2"]
    assert main.main([*common, f"--logs_dir={tmp_path}/first"]) == 0
    first = json.loads((tmp_path / "first/examples.json").read_text())
    later = f"--init_from={tmp_path}/first/model.keras"
    assert main.main([*common, later, f"--logs_dir={tmp_path}/other", "--seed=5"]) == 2
    error = capsys.readouterr().err
    assert f"validation examples are photos that the run in {tmp_path}/first was trained on (" in error
    assert "; --init_from starts from its weights: split the photos as there (--seed=0, the same --data_dir" in error
    assert not (tmp_path / "other/checkpoints").exists()

    gone = min(first["train"])
    remove(data, gone.removeprefix("images/"))
    assert main.main([*common, later, f"--logs_dir={tmp_path}/second"]) == 0
    second = json.loads((tmp_path / "second/examples.json").read_text())
    assert second["validation"] == first["validation"] and second["trained_before"].keys() == {gone}


def test_a_training_that_never_saved_may_split_anew(data, tmp_path):
    run = Run(str(tmp_path / "run"))
    start(run, data)
    anew = run_examples.RunExamples(run, "folder", str(data), started=run.has_checkpoint())
    assert anew.split_rule is None
