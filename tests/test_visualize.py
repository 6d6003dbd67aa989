"""--mode=visualize: which examples, which colours, and a page whose pictures are there."""

import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import main
from fcn_tf import visualize
from fcn_tf.data import datasets, palette
from fcn_tf.errors import UserError
from fcn_tf.io import images
from tests import tiny_run

# Ten pictures, each of its own width, so that none can be taken for another.
PAIRS = [([[0, 1] + [2] * i], [[0, 3] + [1] * i]) for i in range(10)]


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda name, data_dir, split, **flags: tiny_run.dataset(PAIRS, split=split))


def show(tmp_path, **changes):
    tiny_run.write_run(tmp_path)
    assert visualize.run(tiny_run.config("visualize", tmp_path, **changes)) == 0
    return tmp_path / "visualize"


def picture(path):
    return images.decode_image(path.read_bytes(), name=str(path))


class Links(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found += [value for key, value in attrs if key in ("src", "href")]


def test_sheet_is_complete_and_in_the_data_sets_colours(tmp_path):
    folder = show(tmp_path, batch_size=3)
    wanted = {f"{kind}_{i}.png" for kind in ("inp", "gt", "pred", "overlay", "error") for i in range(3)}
    assert set(os.listdir(folder)) == wanted | {"index.html", "legend.png"}
    for i in range(3):
        photo, truth, prediction = (picture(folder / f"{kind}_{i}.png") for kind in ("inp", "gt", "pred"))
        classes, labels = PAIRS[photo.shape[1] - 2]
        np.testing.assert_array_equal(photo, tiny_run.paint(classes))
        np.testing.assert_array_equal(prediction, tiny_run.paint(classes))
        counted = np.array(labels) != 3
        np.testing.assert_array_equal(truth[counted], tiny_run.paint(np.array(labels)[counted]))
        assert tuple(truth[0, 1]) == palette.IGNORED
        assert picture(folder / f"overlay_{i}.png").shape == photo.shape
        wrong = (picture(folder / f"error_{i}.png") == (220, 30, 30)).all(-1)
        np.testing.assert_array_equal(wrong, counted & (np.array(labels) != classes))


def test_the_colours_are_those_of_the_run(tmp_path):
    run = tiny_run.write_run(tmp_path)
    run.write_config({**run.read_config(), "colors": [[9, 9, 9], [0, 255, 0], [0, 0, 255]]})
    assert visualize.run(tiny_run.config("visualize", tmp_path, batch_size=1)) == 0
    np.testing.assert_array_equal(picture(tmp_path / "visualize/gt_0.png")[0, 0], [9, 9, 9])


def test_no_example_is_shown_twice_and_the_seed_chooses(tmp_path):
    def widths(name, **changes):
        folder = show(tmp_path / name, **changes)
        return [picture(folder / f"inp_{i}.png").shape[1] for i in range(len(list(folder.glob("inp_*"))))]

    assert sorted(widths("all", batch_size=50)) == list(range(2, 12))
    first, again, other = (widths(f"run{i}", batch_size=4, seed=seed) for i, seed in enumerate((1, 1, 2)))
    assert first == again != other


def test_count_says_how_many(tmp_path, capsys):
    folder = show(tmp_path, batch_size=2, count=5, seed=9)
    assert len(list(folder.glob("inp_*"))) == 5
    assert "(--seed=9 --count=5 shows the same again)" in capsys.readouterr().out


def test_other_examples_each_time_from_the_runs_own_split(tmp_path, monkeypatch):
    loaded = []
    load = datasets.load
    monkeypatch.setattr(datasets, "load", lambda *names, seed, **flags: (loaded.append(seed), load(*names))[1])
    tiny_run.write_run(tmp_path, flags={"seed": 7, "batch_size": 4})
    typed = ["main.py", "--mode=visualize", f"--logs_dir={tmp_path}"]
    chosen = []
    for more in ([], [], [], ["--seed=3"], ["--seed=3"]):
        assert main.main([*typed, *more]) == 0
        chosen.append([picture(tmp_path / f"visualize/inp_{i}.png").shape[1] for i in range(4)])
    assert loaded == [7] * 5 and chosen[3] == chosen[4]
    assert len({tuple(each) for each in chosen[:3]}) > 1  # all three alike: once in 25 million runs


def test_page_links_pictures_that_exist_and_explains_colours(tmp_path):
    folder = show(tmp_path, batch_size=2)
    page = (folder / "index.html").read_text()
    links = Links(page).found
    assert len(links) == 20 and all((folder / link).is_file() for link in links)
    legend = dict(re.findall(r"rgb\((\d+, \d+, \d+)\)\"></span>([^<]+)", page))
    assert legend["255, 0, 0"] == "red" and legend["0, 255, 0"] == "green"
    assert legend["224, 224, 224"] == "(not labelled)"
    assert len(re.findall(r"<h2>image\d</h2>", page)) == 2
    assert "http" not in page and "<script" not in page


def test_shorter_sheet_leaves_nothing_of_a_longer_one(tmp_path):
    show(tmp_path, batch_size=4)
    folder = show(tmp_path, batch_size=1)
    assert sorted(path.name for path in folder.glob("inp_*")) == ["inp_0.png"]


def test_scores_by_hand(tmp_path, monkeypatch):
    data = tiny_run.dataset([([[0, 0, 1, 1]], [[0, 1, 1, 3]])])
    monkeypatch.setattr(datasets, "load", lambda *_, **flags: data)
    page = (show(tmp_path) / "index.html").read_text()
    assert "pixel accuracy 66.7%, mean IoU 50.0%" in page


def test_untrained_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="no trained model; train one first with --mode=train"):
        visualize.run(tiny_run.config("visualize", tmp_path))
    assert not (tmp_path / "visualize").exists()


def test_a_folder_that_cannot_be_written_costs_no_tensorflow(tmp_path, monkeypatch):
    tiny_run.write_run(tmp_path)
    (tmp_path / "visualize").touch()
    monkeypatch.setattr(visualize.system, "load_tensorflow", None)  # calling it would fail
    with pytest.raises(UserError, match=r"visualize cannot be written \(it is no folder\); give another --logs_dir"):
        visualize.run(tiny_run.config("visualize", tmp_path))
