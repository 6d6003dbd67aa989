"""Commands that fix files: what is printed can be pasted."""

import numpy as np
import pytest

from fcn_tf.data.quality import findings
from fcn_tf.data.quality.findings import Commands
from tests.checked import photos_and_masks, run, shell
from tests.prepared import write


@pytest.fixture
def data(tmp_path):
    return photos_and_masks(tmp_path / "data")


def test_what_removes_files_can_be_pasted(data):
    for number in range(3):
        (data / f"images/p{number}.png").rename(data / f"images/it's {number}.png")
        (data / f"masks/p{number}.png").unlink()
        write(data / f"masks/it's {number}.png", np.zeros((32, 40)))
    _, found, _ = run(data)
    (command,) = found["one_class"]["commands"]
    assert command.startswith("xargs rm -- < ")
    assert len(list((data / "images").iterdir())) == len(list((data / "masks").iterdir())) == 6
    shell(command)
    left = [f"p{number}.png" for number in (3, 4, 5)]
    for folder in ("images", "masks"):
        assert sorted(path.name for path in (data / folder).iterdir()) == left


def test_few_files_stand_in_the_command_and_many_in_a_list():
    commands = Commands("check")
    assert commands.remove(["a b.png", "it's.png"], name="empty") == """rm -- 'a b.png' 'it'"'"'s.png'"""
    assert commands.lists == {}
    assert commands.remove([f"{n} .png" for n in range(5)], name="empty") == "xargs rm -- < check/empty.txt"
    assert commands.lists == {"check/empty.txt": b"'0 .png'\n'1 .png'\n'2 .png'\n'3 .png'\n'4 .png'\n"}


def test_remote_files_are_listed_and_no_command_is_made_up():
    commands = Commands("check")
    assert commands.remove(["gs://bucket/a.png"], name="empty") == "# the files listed in check/empty.txt"
    assert list(commands.lists.values()) == [b"gs://bucket/a.png\n"]


def test_in_words():
    assert findings.alternatives([]) == "" and findings.alternatives(["--a=1", "--b=2"]) == "Add --a=1; or --b=2"
