"""From a typed command line to settings, in process; test_architecture.py starts main.py itself."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import main
from fcn_tf import registry
from fcn_tf.command import flags, other_names
from fcn_tf.config import Config, Scope, flag_name, flag_of
from fcn_tf.data import datasets
from fcn_tf.errors import UserError
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Somewhere else than the repository, whose logs/ may hold a run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parse(*arguments):
    return flags.config_from_flags(["main.py", *arguments])


def test_nothing_typed_gives_the_defaults():
    assert parse() == Config()


def test_every_setting_can_be_typed():
    chosen: dict[str, Any] = {"mode": "predict", "dataset": "camvid", "arch": "original"}
    chosen |= {"crop": "squash", "resize": "nearest", "ignore_label": "4", "learning_rate": 0.5, "dropout": 0.25}
    chosen |= {name: 9 for name in ("image_size", "batch_size", "max_steps", "eval_every", "save_every", "log_every")}
    chosen |= {"augment": False, "debug": True, "seed": 5, "precision": "float16"}
    chosen |= {name: f"some/{name}" for name in ("data_dir", "logs_dir", "model_dir", "weights", "input", "output_dir")}
    rest = {field.name: field.default for field in dataclasses.fields(Config) if field.name not in chosen}
    values = chosen | rest
    names = {field.name: flag_name(field) for field in dataclasses.fields(Config)}
    assert parse(*(f"--{names[name]}={value}" for name, value in values.items())) == Config(**values)


def test_the_ways_to_write_a_flag():
    config = parse("--mode", "train", "-batch_size=3", "--noaugment", "--debug")
    assert (config.batch_size, config.augment, config.debug) == (3, False, True)


def test_a_command_line_leaves_nothing_behind_for_the_next():
    parse("--seed=3", "--debug")
    with pytest.raises(UserError):
        parse("--seed=many")
    assert parse() == Config()


@pytest.mark.parametrize("spelling", ["--help", "-h", "-help"])
def test_help_lists_every_flag_with_its_default_and_parses_nothing(spelling, capsys):
    assert parse(spelling) is None
    text = capsys.readouterr().out
    for field in dataclasses.fields(Config):
        assert f"--{flag_name(field)} " in text
    assert "1e-04" in text or "0.0001" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--no_such_flag=1"], "no_such_flag"),
        (["--bach_size=3"], "batch_size"),  # did you mean
        (["--batch_size=many"], "many"),
        (["--batch_size"], "batch_size"),
        (["--debug=perhaps"], "perhaps"),
        (["--learning_rate=fast"], "fast"),
        (["--log_dir=logs"], "log_dir"),
        (["--alsologtostderr"], "alsologtostderr"),
        (["train"], "'train'"),
        (["--seed=1", "stray"], "'stray'"),
        (["--", "--seed=1"], "--seed=1"),
        (["--flagfile=none.cfg"], "none.cfg"),
        (["--arch=fcn9s"], "fcn9s"),
        (["--noaugment=false"], "--noaugment=false does not take an argument"),
    ],
)
def test_a_mistake_is_one_line_that_names_it_and_status_2(arguments, said, capsys):
    assert main.main(["main.py", *arguments]) == 2
    printed = capsys.readouterr()
    assert re.fullmatch(r"error: .+\n", printed.err) and said in printed.err
    assert not printed.out


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            "--max_steps=abc",
            "must be a whole number, 1 or more, up to 10^15 (or 0: the data set's default), got 'abc'.",
        ),
        (
            "--max_steps=1e4",
            "must be a whole number, 1 or more, up to 10^15 (or 0: the data set's default), got '1e4'.",
        ),
        ("--learning_rate=0,1", "must be a positive number such as 1e-4, got '0,1'."),
        ("--dropout=half", "must be a number, in [0, 1), got 'half'."),
        ("--debug=perhaps", "must be true or false, got 'perhaps'."),
        ("--help=train", "must be true or false, got 'train'."),
    ],
)
def test_what_is_no_number_is_told_what_is_expected(typed, said):
    with pytest.raises(UserError) as caught:
        parse(typed)
    assert str(caught.value) == f"{typed.partition('=')[0]} {said}"


def test_every_flag_that_takes_no_text_says_what_is_no_value_of_it_in_the_same_words(empty_folder):
    fields = [field for field in dataclasses.fields(Config) if type(field.default) is not str]
    assert {type(field.default) for field in fields} == {bool, int, float}
    for field in fields:
        for given in (f"--{flag_name(field)}=9x", "--flagfile=a.cfg"):
            (empty_folder / "a.cfg").write_text(f"--{flag_name(field)}=9x\n")
            where = " in a.cfg" if given == "--flagfile=a.cfg" else ""
            with pytest.raises(UserError, match=rf"^--{flag_name(field)} must be .*, got '9x'{where}\.$"):
                parse(given)


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("--lr=1e-3", "--learning_rate"),
        ("--LR=1e-3", "--learning_rate"),
        ("--epochs=3", "--max_steps, which counts steps"),
        ("--num_epochs 3", "--max_steps"),
        ("--steps=3", "--max_steps"),
        ("--data=photos", "--data_dir"),
        ("--batch-size=3", "--batch_size"),
        ("--model=fcn8s", "--arch"),
        ("--gpu=0", "CUDA_VISIBLE_DEVICES"),
        ("--resume", "--logs_dir"),
        ("--mode=predict --confidence", "--outputs=labels,confidence"),
        ("--mode=predict --probabilities=true", "--outputs=labels,probabilities"),
        ("--debug True", "--debug=true"),
        ("--seed=3 --augment False", "--noaugment"),
        ("--mode=predict --input a.jpg b.jpg c.jpg --output_dir=out", "in quotes"),
        ("help", "--help"),
    ],
)
def test_names_and_habits_of_other_programs_get_ours(typed, advice):
    with pytest.raises(UserError) as caught:
        parse(*typed.split())
    assert advice in str(caught.value) and "\n" not in str(caught.value)


def test_a_home_folder_that_no_shell_has_put_in(empty_folder, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    with pytest.raises(UserError, match="^--logs_dir=~/logs: this ~ is not replaced .* write --logs_dir=/home/me/logs"):
        parse("--logs_dir=~/logs")
    (empty_folder / "a.cfg").write_text("--dataset=folder\n--data_dir=~/data\n")
    with pytest.raises(UserError, match="^--data_dir=~/data in a.cfg: .* write --data_dir=/home/me/data"):
        parse("--flagfile=a.cfg")
    assert parse("--data_dir=./~/data", "--dataset=folder").data_dir == "./~/data"


def test_other_names_are_no_flags_of_ours_and_lead_to_flags():
    assert not set(other_names._MEANT) & set(flags.FLAGS)
    assert {ours.split(",")[0] for ours in other_names._OTHER_NAMES} <= set(flags.FLAGS)


def test_spaces_around_a_number_do_not_matter():
    assert parse("--learning_rate=1e-3 ").learning_rate == 1e-3


def test_help_has_sections(capsys):
    parse("--help")
    sections = re.findall(r"^(\w.*):$", capsys.readouterr().out, re.M)
    assert sections == ["Command", "Data", "Model", "Training", "Evaluation and prediction", "Export", "Serving"]


def test_help_says_that_one_mode_may_be_asked_for(capsys):
    parse("--help")
    assert "main.py --mode=MODE --help lists those that one mode reads.\n" in capsys.readouterr().out


@pytest.mark.parametrize("mode", [*registry.MODES, "test"])
def test_help_of_a_mode_lists_what_it_reads(mode, capsys):
    assert parse("--help", f"--mode={mode}") is None
    text = capsys.readouterr().out
    shown = set(re.findall(r"^  --(\w+) ", text, re.M))
    assert {"mode", "logs_dir", "verbosity"} <= shown
    ours = "evaluate" if mode == "test" else mode
    assert f"These are the flags that {ours} reads; " in text and max(map(len, text.splitlines())) <= 100
    for field in dataclasses.fields(Config):
        modes = flag_of(field).modes
        if modes:
            assert (flag_name(field) in shown) == (ours in modes), field.name
    assert ("learning_rate" in shown) == (ours in ("train", "search", "check", "prepare"))
    assert ("palette" in shown) and ("holdout" in shown) == (ours not in ("predict", "explain", "serve"))
    read = set(re.findall(r"config\.(\w+)", (ROOT / f"fcn_tf/{ours}.py").read_text()))
    assert shown >= {flag_name(field) for field in dataclasses.fields(Config) if field.name in read}
    sections = re.findall(r"^(\w.*):$", text, re.M)
    assert sections[0] == "Command" and len(set(sections)) == len(sections)
    assert all(re.search(rf"^{each}:\n  --", text, re.M) for each in sections)


def test_help_of_a_mode_that_is_none_lists_everything(capsys):
    parse("--mode=predct", "--help")
    assert "\nServing:\n" in capsys.readouterr().out


ORIGINAL = "--batch_size=2 --logs_dir=run/ --data_dir=Data_zoo/MIT_SceneParsing/ --learning_rate=1e-4"
ORIGINAL += " --model_dir=Model_zoo/"


def test_the_original_command_line_is_told_what_it_lacks():
    with pytest.raises(UserError, match="--data_dir.*shapes.*--dataset=ade20k.*--model_dir.*tiny.*--weights=vgg19"):
        parse(*ORIGINAL.split())
    config = parse(*ORIGINAL.split(), "--dataset=ade20k", "--weights=vgg19")
    assert (config.data_dir, config.model_dir) == ("Data_zoo/MIT_SceneParsing/", "Model_zoo/")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("--mode=serve --inference_precision=bfloat16", "--inference_precision has no effect .*; use --mode=predict,"),
        ("--mode=serve --format=onnx", "--format has no effect on --mode=serve; use --mode=export, or leave it out"),
        ("--mode=evaluate --runtime=openvino", "--runtime .* use --mode=predict or serve, or"),
        ("--mode=test --quantize=int8", "--quantize .* --mode=evaluate; use --mode=predict, serve or export, or"),
        ("--mode=explain --input=a.jpg --tta", "--tta .* use --mode=visualize, evaluate, predict or serve, or"),
        ("--mode=predict --input=a.jpg --class=dots", "--class has no effect on --mode=predict; use --mode=explain,"),
        ("--trials=4", "--trials has no effect on --mode=train; use --mode=search, or"),
        ("--mode=search --resume_from=best", "--resume_from .* use --mode=train, or"),
        ("--mode=train --flagfile=flags.cfg", "--port has no effect on --mode=train; use --mode=serve, or"),
        ("--mode=export --web_runtime=here", "--web_runtime has no effect on --format=savedmodel; add web, or leave"),
    ],
)
def test_a_flag_of_other_modes_is_refused(command, said, empty_folder):
    (empty_folder / "flags.cfg").write_text("--port=9\n")
    with pytest.raises(UserError, match=f"^{said}"):
        parse(*command.split())


def test_flags_of_a_training_and_defaults_of_other_modes_are_not_refused(empty_folder):
    write_run(empty_folder / "run", profile=True)
    (empty_folder / "flags.cfg").write_text("--arch=light\n--learning_rate=1e-3\n--loss=dice\n")
    config = parse("--mode=evaluate", "--logs_dir=run", "--flagfile=flags.cfg", "--port=8000", "--nooverwrite", "--tta")
    assert (config.mode, config.loss, config.port, config.tta) == ("evaluate", "dice", 8000, True)


def test_the_modes_of_a_flag_are_those_that_read_it():
    sources = {mode: (ROOT / f"fcn_tf/{mode}.py").read_text() for mode in registry.MODES}
    for field in dataclasses.fields(Config):
        readers = {mode for mode, source in sources.items() if re.search(rf"\bconfig\.{field.name}\b", source)}
        readers |= {"profile": {"search"}, "split": {"prepare"}}.get(field.name, set())  # of its trainings; refuses one
        if flag_of(field).scope is Scope.COMMAND and field.name not in ("mode", "logs_dir", "verbosity"):
            assert (field.name, set(flag_of(field).modes)) == (field.name, readers)


@pytest.mark.parametrize("mode", ["check", "evaluate", "visualize"])
def test_a_data_dir_that_nobody_reads_is_refused(mode, empty_folder):
    write_run(empty_folder / "run")
    with pytest.raises(UserError, match="--data_dir=mine .*--dataset is shapes.*--dataset=folder"):
        parse("--logs_dir=run", f"--mode={mode}", "--data_dir=mine")
    assert parse("--logs_dir=run", f"--mode={mode}", "--data_dir=mine", "--dataset=folder", "--logs_dir=other")


@pytest.mark.parametrize("weights", ["tiny", "none", "my.mat"])
def test_a_model_dir_that_nobody_reads_is_refused(weights):
    with pytest.raises(UserError, match=f"--model_dir=zoo .*--weights is {weights}: add --weights=vgg19"):
        parse(f"--weights={weights}", "--model_dir=zoo")
    assert parse("--weights=vgg16", "--model_dir=zoo").model_dir == "zoo"


def test_a_saved_run_goes_on_whatever_folders_it_names(empty_folder):
    write_run(empty_folder / "run", data_dir="of an older version", model_dir="elsewhere")
    assert parse("--logs_dir=run", "--max_steps=700").data_dir == "of an older version"


def test_a_flag_file_is_a_preset(empty_folder):
    (empty_folder / "small.cfg").write_text("# small\n\n--arch=original\n--batch_size=3\n--noaugment\n")
    assert parse("--flagfile=small.cfg") == Config(arch="original", batch_size=3, augment=False)
    assert parse("--flagfile=small.cfg", "--batch_size=5").batch_size == 5


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16"])
def test_a_flag_file_of_an_editor_of_windows(empty_folder, coding):
    (empty_folder / "small.cfg").write_bytes("// Größe\r\n--batch_size=3\r\n".encode(coding))
    assert parse("--flagfile", "small.cfg").batch_size == 3


def test_flag_files_in_flag_files(empty_folder):
    (empty_folder / "a.cfg").write_text("--batch_size=3\n--flagfile=b.cfg\n--seed=5\n")
    (empty_folder / "b.cfg").write_text("--batch_size=4\n--seed=4\n")
    config = parse("--flagfile=a.cfg")
    assert (config.batch_size, config.seed) == (4, 5)
    (empty_folder / "b.cfg").write_text("--flagfile=a.cfg\n--flagfile=a.cfg\n")
    with pytest.raises(UserError, match="more than 100 files.*does it name itself"):
        parse("--flagfile=a.cfg")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89PNG\r\n\x1a\n", "bad.cfg is a picture; expected a file of text in UTF-8; name a file of flags"),
        (b"\xff\xfe-\0-", "no text in UTF-8"),
        (b"--seed=\0", "seed"),
    ],
)
def test_what_is_no_flag_file(empty_folder, capsys, content, said):
    (empty_folder / "bad.cfg").write_bytes(content)
    assert main.main(["main.py", "--flagfile=bad.cfg"]) == 2
    printed = capsys.readouterr().err
    assert re.fullmatch(r"error: .+\n", printed) and said in printed


def test_a_flag_file_that_never_ends(empty_folder):
    os.mkfifo("pipe.cfg")
    for path in ("pipe.cfg", "/dev/zero", "."):
        with pytest.raises(UserError, match="name a file of flags"):
            parse(f"--flagfile={path}")


@pytest.mark.parametrize("flag", ["max_steps", "eval_every", "save_every", "log_every", "warmup_steps", "batch_size"])
def test_numbers_that_64_bits_do_not_hold(empty_folder, flag):
    for value in (2**63, 10**400):
        with pytest.raises(UserError, match=f"{flag} must be .* up to"):
            parse(f"--{flag}={value}")


@pytest.mark.parametrize("size", ["99999", "32x99999", "9" * 5000, "²"])
def test_crops_that_no_memory_holds(empty_folder, size):
    with pytest.raises(UserError, match=r"image_size must be .* each up to 16384, got"):
        parse(f"--image_size={size}")


def test_a_mistake_shows_no_terminal_codes(empty_folder, capsys):
    assert main.main(["main.py", "--input=\x1b]0;title\x07\n.jpg", "--mode=predict", "--logs_dir=\x1b[31mred"]) == 2
    printed = capsys.readouterr().err
    assert re.fullmatch(r"error: .+\n", printed) and "\\x1b[31mred" in printed


@pytest.mark.parametrize("name", ["original", "original.cfg", "configs/original.cfg"])
def test_a_preset_that_comes_along_is_found_from_any_folder(name):
    preset = parse(f"--flagfile={ROOT}/configs/original.cfg")
    assert parse(f"--flagfile={name}") == parse("--flagfile", name) == preset != Config()


def test_a_flag_file_of_ones_own_wins_over_a_preset(empty_folder):
    (empty_folder / "original").write_text("--seed=7\n")
    assert parse("--flagfile=original") == Config(seed=7)
    (empty_folder / "isbi").mkdir()  # of data
    assert parse("--flagfile=isbi") == parse("--flagfile=isbi.cfg")


def test_a_flag_file_that_is_not_there_names_those_that_come_along():
    with pytest.raises(UserError, match="none.cfg.*or one of bag, camvid, .*, original"):
        parse("--flagfile=none.cfg")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--no_such=1", "no_such'. It stands in bad.cfg."),
        ("--lr=1", "'lr' in bad.cfg; use --learning_rate"),
        ("--max_steps 100", "in bad.cfg: a line of a flag file is --max_steps=VALUE"),
        ("max_steps=100", "'max_steps=100' in bad.cfg is no flag without its dashes: write --max_steps=100"),
    ],
)
def test_a_mistake_in_a_flag_file_is_told_with_its_place(empty_folder, line, said):
    (empty_folder / "bad.cfg").write_text(f"--seed=1\n{line}\n")
    with pytest.raises(UserError) as caught:
        parse("--flagfile=bad.cfg", "--seed=2")
    assert said in str(caught.value)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.cfg")), ids=lambda path: path.name)
def test_the_presets_that_come_with_it_are_valid(path):
    assert isinstance(parse(f"--flagfile={path}"), Config)


@pytest.mark.parametrize("name", [*registry.STAGED, "fcn4s", "fcn2s", "fcn32s_alexnet", "fcn8s_staged"])
def test_the_presets_of_the_paper_leave_photos_at_their_scale(name):
    assert parse(f"--flagfile={name}").scales == "1"


def test_fcn8s_pytorch_cfg_is_fifty_epochs_of_the_404_photos_that_are_not_held_out():
    config = parse("--flagfile=fcn8s_pytorch")
    assert (config.batch_size * config.eval_every, config.max_steps) == (404, 50 * config.eval_every)


def test_original_cfg_is_what_upstream_did():
    config = parse(f"--flagfile={ROOT}/configs/original.cfg")
    assert (config.arch, config.dataset, config.ignore_label) == ("original", "ade20k", "none")
    assert (config.crop, config.resize, config.augment) == ("squash", "nearest", False)
    assert (config.batch_size, config.image_size, config.learning_rate, config.dropout) == (2, "224", 1e-4, 0.15)


def write_run(folder, **settings):
    """A run that has got as far as a checkpoint."""
    config, run = Config(**settings), Run(str(folder))
    run.write_config({"flags": config.to_json()})
    files.write_bytes(f"{run.checkpoints}/ckpt-5.index", b"")
    return config


def test_other_modes_take_what_was_not_typed_from_the_run(empty_folder):
    run = write_run(empty_folder / "run", dataset="camvid", data_dir="cam", arch="original", image_size=64, seed=5)
    config = parse("--mode=evaluate", "--logs_dir=run", "--split=test")
    assert config == dataclasses.replace(run, mode="evaluate", logs_dir="run", split="test")
    assert parse("--mode=test", "--logs_dir=run", "--data_dir=other").data_dir == "other"


def test_the_default_logs_dir_is_a_run_like_any_other(empty_folder):
    write_run(empty_folder / "logs", seed=5)
    assert parse("--mode=evaluate").seed == 5


def test_resume_refuses_another_arch_but_trains_longer(empty_folder):
    write_run(empty_folder / "run", arch="original", max_steps=10)
    with pytest.raises(UserError, match="--arch=original.*--arch=fcn8s"):
        parse("--logs_dir=run", "--arch=fcn8s")
    config = parse("--logs_dir=run", "--max_steps=20", "--eval_every=2", "--save_every=3", "--log_every=4")
    assert config.arch == "original"
    assert (config.max_steps, config.eval_every, config.save_every, config.log_every) == (20, 2, 3, 4)


def test_a_run_that_never_reached_a_checkpoint_may_start_anew_with_corrected_flags(empty_folder):
    write_run(empty_folder / "run", arch="original")
    (empty_folder / "run" / "checkpoints" / "ckpt-5.index").unlink()
    assert parse("--logs_dir=run", "--arch=fcn8s") == Config(logs_dir="run", arch="fcn8s")
    assert parse("--logs_dir=run", "--mode=visualize").arch == "original"


def test_a_default_that_is_typed_counts_as_given(empty_folder):
    write_run(empty_folder / "run", dropout=0.5)
    with pytest.raises(UserError, match="--dropout"):
        parse("--logs_dir=run", f"--dropout={Config().dropout}")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"flags": []}', '{"flags": {"seed": "x"}}'])
def test_a_damaged_config_json_is_one_line(empty_folder, content):
    (empty_folder / "run").mkdir()
    (empty_folder / "run" / "config.json").write_text(content)
    with pytest.raises(UserError, match="config.json"):
        parse("--logs_dir=run", "--mode=evaluate")


def test_main_answers_from_any_folder_without_tensorflow(empty_folder):
    program = (
        "import json, runpy, sys; sys.argv = json.loads(sys.argv[1])\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as error: print('STATUS', error.code, 'tensorflow' in sys.modules, 'keras' in sys.modules)"
    )
    for arguments, status in ((["--help"], 0), (["--log_dir=logs"], 2)):
        argv = json.dumps([str(ROOT / "main.py"), *arguments])
        command = [sys.executable, "-c", program, argv]
        done = subprocess.run(command, cwd=empty_folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
        assert f"STATUS {status} False False" in done.stdout, done.stderr


def test_flags_cannot_be_mistaken_for_the_program():
    done = subprocess.run([sys.executable, "flags.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "main.py" in done.stderr


@pytest.mark.parametrize("name", ["bag", "isbi"])
def test_presets_of_two_classes_read_the_real_masks(name, shared):
    """Their classes are given in full, so listing a split scans no mask."""
    config = parse(f"--flagfile={ROOT}/configs/{name}.cfg", f"--data_dir={shared / 'data' / name}")
    dataset = datasets.load(config.dataset, config.data_dir, "validation", **config.data_flags())
    labels = [dataset.read(example)[1] for example in dataset.examples[:3]]
    assert {*np.unique(np.concatenate([label.ravel() for label in labels]))} == {0, 1}
