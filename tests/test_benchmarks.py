"""The benchmarks measure what they say: the twin is upstream's graph, both sides learn the same, the sums are right."""

import contextlib
import importlib
import importlib.metadata
import json
import math
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks import (
    accuracy,
    all_reduce_precision,
    common,
    distributed,
    export_memory,
    exports,
    fuzz,
    growth,
    network,
    report,
    scenes,
    soak,
    startup,
    step_profile,
    train_step,
    turns,
    watching,
)
from fcn_tf.data.datasets import camvid
from fcn_tf.errors import UserError
from fcn_tf.formats import savedmodel
from fcn_tf.formats.base import Source
from fcn_tf.models import segmentation
from tests import fuzzing, matfiles, tiny_run, tiny_training
from tests.conftest import ROOT

SCRIPTS = (
    "train_step", "optimizer_step", "input_pipeline", "inference", "predict_rate", "startup", "growth",
    "freeze_recompute", "summaries", "memory_growth", "check_size", "precision", "peers", "step_profile",
    "revisions", "accuracy", "time_to_accuracy", "serve_load", "soak", "fuzz", "exports", "export_memory",
    "report", "distributed",
    "all_reduce_precision", "ray_predict_rate",
)  # fmt: skip
WIDTHS = {f"conv{s}_{i}": f for s, (n, f) in enumerate(network._STAGES, 1) for i in range(1, n + 1)}
SIZE = {"num_classes": 5, "image_size": 32, "batch_size": 2}


def test_every_script_is_tested_here_and_described():
    paths = (ROOT / "benchmarks").glob("*.py")
    found = {path.stem for path in paths if 'if __name__ == "__main__"' in path.read_text()}
    assert found - {"worker"} == set(SCRIPTS)
    text = (ROOT / "benchmarks/README.md").read_text()
    assert all(f"`{script}.py`" in text for script in SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script, capsys):
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"benchmarks.{script}").main(["--help"])
    assert end.value.code == 0 and "usage" in capsys.readouterr().out


def test_the_original_by_hand():
    layers = {layer.name: layer for layer in network.original_layers(WIDTHS, 151)}
    assert "conv5_4" not in layers and len(layers) == 15 + 6
    assert layers["conv6"].kernel == (7, 7, 512, 4096) and layers["conv_t2"].kernel == (4, 4, 256, 512)
    assert [layers[name].filters for name in ("conv8", "conv_t1", "conv_t2", "conv_t3")] == [151, 512, 256, 151]
    # At 224: the trunk at 224, 112, ..., 14; conv6 to conv8 and conv_t1 see 7x7, conv_t2 14x14, conv_t3 28x28.
    trunk = (
        224**2 * 9 * (3 * 64 + 64 * 64)
        + 112**2 * 9 * (64 * 128 + 128 * 128)
        + 56**2 * 9 * (128 * 256 + 3 * 256 * 256)
        + 28**2 * 9 * (256 * 512 + 3 * 512 * 512)
        + 14**2 * 9 * (3 * 512 * 512)
    )
    hidden = 7**2 * (49 * 512 * 4096 + 4096 * 4096 + 4096 * 151 + 16 * 512 * 151)
    upper = 14**2 * 16 * 256 * 512 + 28**2 * 256 * 151 * 256
    forward = network.forward_multiply_adds(list(layers.values()), 224)
    assert forward == trunk + hidden + upper
    # Nothing is propagated to the picture.
    assert network.training_flops(list(layers.values()), 224, 2) == 4 * (3 * forward - 224**2 * 9 * 3 * 64)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_revision_is_marked_where_code_was_changed(tmp_path):
    assert common.revision(tmp_path) is None
    code, results = tmp_path / "code.py", tmp_path / "benchmarks" / "results" / "old.json"
    results.parent.mkdir(parents=True)
    code.write_text("1")
    results.write_text("1")
    author = ["-c", "user.name=me", "-c", "user.email=me@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    clean = common.revision(tmp_path)
    assert clean and "dirty" not in clean
    results.write_text("2")
    assert common.revision(tmp_path) == clean
    code.write_text("2")
    assert common.revision(tmp_path) == f"{clean}-dirty"


def test_ratios_are_taken_within_rounds():
    rounds = [{"a": 2.0, "b": 1.0}, {"a": 30.0, "b": 10.0}, {"a": 4.0, "b": 1.0}]
    assert turns.ratio(rounds, "a", "b") == turns.Ratio(median=3.0, low=2.0, high=4.0, pairs=3)
    assert turns.median_seconds(rounds, "a") == 4.0


def test_turns_alternate(capsys):
    taken = []
    contenders = {name: lambda name=name: taken.append(name) or 1.0 for name in "abc"}
    rounds = turns.take_turns(contenders, rounds=4, seconds=60)
    assert "".join(taken) == "abc" + "cba" + "abc" + "cba"
    assert [list(times) for times in rounds] == 4 * [["a", "b", "c"]]
    assert len(turns.take_turns(contenders, rounds=9, seconds=0)) == 3
    assert capsys.readouterr().out.count("round") == 7


def test_a_worker_answers_fails_and_goes_on(capfd):
    with turns.Worker("datetime:date", year=2020, month=1, day=2) as worker:
        assert worker.call("isoformat") == "2020-01-02"
        with pytest.raises(turns.WorkerError, match="ValueError: .*month"):
            worker.call("replace", month=13)
        assert worker.call("strftime", format="%Y") == "2020"
        assert 2**20 < worker.call("peak_bytes") < 2**30
    with turns.Worker("datetime:nothing") as broken, pytest.raises(turns.WorkerError) as failure:
        broken.ready()
    assert failure.value.kind == "AttributeError"
    assert "Traceback" in capfd.readouterr().err


def test_a_program_is_timed_and_weighed():
    program = turns.run_program(["--help"])
    assert "--mode" in program.output and 0 < program.seconds < 60 and program.peak_bytes > 2**20
    assert turns.run_program(["--no_such_flag"], check=False).status == 2
    with pytest.raises(RuntimeError, match="no_such_flag"):
        turns.run_program(["--no_such_flag"])


def test_generated_scenes_are_a_data_set(tmp_path):
    folder = scenes.write_camvid(str(tmp_path), train=2, validation=1, width=60, height=40)
    data = camvid.load(folder, "train")
    assert len(data) == 2 and len(camvid.load(folder, "validation")) == 1
    image, label = data.read(data.examples[0])
    assert image.shape == (40, 60, 3) and image.std() > 20
    assert label.shape == (40, 60) and len(np.unique(label)) > 3


def test_points_of_growth():
    points = growth.all_points()
    assert points[0] == {"batch_size": 2, "image_size": 128, "num_classes": 151}
    assert points[-1] == {"batch_size": 16, "image_size": 224, "num_classes": 151}
    assert len(points) == len({tuple(point.items()) for point in points}) == 5 + 7 + 5 - 2
    cost = [point["batch_size"] * point["image_size"] ** 2 for point in points]
    assert cost == sorted(cost)
    measured = [{**point, "images_per_second": 1.0, "peak_bytes": 2**30} for point in points]
    assert growth.plot(measured, "title").startswith(b"\x89PNG")


def test_the_step_is_seen_on_the_bar():
    assert not startup._STEP.search(b"\r  0%|          | 0/600 [00:00<?, ?step/s]")
    assert startup._STEP.search(b"\r  0%|          | 1/600 [00:03<33:40, loss 2.1, 0.00 images/s]")


def results(**changes):
    rows = [
        common.row("a", 2.0, "x", least=1.5),
        common.row("b", 3.0, "s", most=1.0),
        common.row("c", None, "x", note="no"),
    ]
    return {
        "benchmark": "some",
        "date": "today",
        "revision": "abc",
        "settings": {"size": 1, "none": ""},
        "machine": {"cpu": "CPU", "cores": 2},
        "bfloat16_supported_by_processor": False,
        "versions": {"tensorflow": "2", "keras": "3"},
        "rows": rows,
        **changes,
    }


def test_the_report_replaces_what_is_between_the_marks():
    text = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    both = [report.section(each) for each in (results(), results(benchmark="other", plot="other.png"))]
    new = report.filled(text, both)
    assert new.startswith(f"before\n{report.BEGIN}\n\n### some.py, today")
    assert new.endswith(f"(results/other.png)\n\n{report.END}\nafter\n")
    assert "old" not in new and "### other.py" in new and "size 1." in new
    for line in ("a | 2 x | at least 1.5 x | reached", "b | 3 s | at most 1 s | missed", "c | not measured |  | no"):
        assert f"\n| {line} |\n" in new
    assert report.filled(new, both) == new
    with pytest.raises(ValueError, match="marks"):
        report.filled("nothing", [])
    assert report.filled((ROOT / "benchmarks/README.md").read_text(), [])


def test_the_documents_show_every_accuracy_once():
    results = [json.loads(path.read_text()) for path in (ROOT / "benchmarks/results").glob("accuracy-*.json")]
    assert {each["table"] for each in results} <= set(report.ACCURACY)
    pages = {"recipes": "README.md", "networks": "docs/results.md", "quirks": "docs/original.md"}
    assert set(pages) == set(report.ACCURACY)
    for table, mark in report.ACCURACY.items():
        here = [each for each in results if each["table"] == table]
        shown = report.accuracy_table(here)
        text = (ROOT / pages[table]).read_text()
        assert text == report.filled(text, [shown] if here else [], begin=mark), "run python benchmarks/report.py"
        assert len(shown.splitlines()) == (2 + len(here) if here else 0)
    networks = [each for each in results if each["table"] == "networks"]
    text, mark = (ROOT / "README.md").read_text(), report.ACCURACY["networks"]
    assert text == report.filled(text, [report.networks_in_short(networks)], begin=mark), "run benchmarks/report.py"


def test_the_table_of_time_to_accuracy():
    curves = {"a": [[50, 60.0, 0.1], [100, 120.0, 0.2]], "b": [[50, 90.0, 0.5]]}
    found = {"settings": {"target": 0.4}, "curves": curves, "rows": [{"value": None}, {"value": 1.25}]}
    assert report.race_table(found).splitlines() == [
        "| network | 50 steps | 100 steps | minutes | minutes to 0.4 |", "|---|---|---|---|---|",
        "| b | 0.500 |  | 1.5 | 1.2 |", "| a | 0.100 | 0.200 | 2.0 |  |",
    ]  # fmt: skip
    kept = json.loads((ROOT / "benchmarks/results/time_to_accuracy.json").read_text())
    text = (ROOT / "docs/results.md").read_text()
    assert text == report.filled(text, [report.race_table(kept)], begin=report.RACE), "run benchmarks/report.py"


def test_networks_in_short():
    found = [
        {"name": name, "parameters": parameters, "seeds": [{"mean_iou": value} for value in values]}
        for name, parameters, values in (("b", 134.4e6, [0.25]), ("a", 22e6, [0.5, 0.6]))
    ]
    assert report.networks_in_short(found) == "Mean IoU (parameters): `a` 0.550 (22 M), `b` 0.250 (134 M)."


def export_rows(folder):
    """Two exports as export.json lists them, the later one first."""
    scores = {"agreement": 0.99874, "confidence_difference": 0.0123, "mean_iou_difference": -0.0021}
    about = {"dataset": "camvid", "split": "validation", "pictures": 20, "model": "m"}
    kinds = (("openvino", "int8", 135e6), ("savedmodel", "float32", 538e6))
    return [
        {"format": name, "quantize": precision, "folder": f"{folder}/{name}", "bytes": size, **scores, **about}
        for name, precision, size in kinds
    ]


def test_exports_take_turns_with_the_model(tmp_path, monkeypatch):
    seconds = {"Model": 0.5, "openvino": 0.25, "savedmodel": 0.625}

    class Worker(contextlib.nullcontext):
        def __init__(self, target, **options):
            super().__init__(self)
            self.seconds = seconds[os.path.basename(options.get("folder", "Model"))]
            assert (options["width"], options["height"], options["images"]) == (480, 360, 2)

        def call(self, name):
            return {"turn": self.seconds, "peak_bytes": 2**30}[name]

    monkeypatch.setattr(turns, "Worker", Worker)
    (tmp_path / "export").mkdir()
    (tmp_path / "export/export.json").write_text(json.dumps({"exports": export_rows(tmp_path)}))
    exports.main([f"--logs_dir={tmp_path}", f"--json={tmp_path}/exports.json"])
    found = json.loads((tmp_path / "exports.json").read_text())
    assert [row["value"] for row in found["rows"]] == [0.8, 2.0]  # in the order of the formats
    table = report.formats_table(found).splitlines()
    assert table[2] == ("| `savedmodel` | float32 | 538 | 99.87 % | 0.01 | -0.21 points | 1.60 | 0.80 x | 1.0 GiB |")
    short = report.formats_in_short(found).splitlines()
    assert short[0] == "| weights | `savedmodel` | `openvino` |"
    assert short[2:] == ["| float32 | 538 MB, 99.9 %, 0.80 x |  |", "| int8 |  | 135 MB, 99.9 %, 2.00 x |"]
    assert str(tmp_path) not in (tmp_path / "exports.json").read_text()


def test_exports_that_are_not_there_are_named(tmp_path):
    with pytest.raises(UserError, match="make the exports with --mode=export"):
        exports.main([f"--logs_dir={tmp_path}", f"--json={tmp_path}/exports.json"])


def test_an_export_and_a_model_in_turns(tmp_path):
    tiny_run.write_run(tmp_path)
    size = {"width": 7, "height": 5, "images": 2}
    assert exports.Model(logs_dir=str(tmp_path), **size).turn() > 0
    with pytest.raises(UserError, match="is no export"):
        exports.Exported(folder=str(tmp_path), **size)


def test_the_tables_of_exports_are_current():
    paths = sorted((ROOT / "benchmarks/results").glob("exports*.json"))
    found = [json.loads(path.read_text()) for path in paths]
    for document, blocks in (
        ("README.md", [report.formats_in_short(each) for each in found]),
        ("docs/export.md", [text for each in found for text in (report._machine(each), report.formats_table(each))]),
    ):
        text = (ROOT / document).read_text()
        assert text == report.filled(text, blocks, begin=report.FORMATS), "run python benchmarks/report.py"


def test_the_memory_of_exports_is_set_against_what_is_asked_for(tmp_path, monkeypatch):
    class Worker(contextlib.nullcontext):
        def __init__(self, target, **options):
            super().__init__(self)
            assert target == "benchmarks.export_memory:Exported" and options["folder"].startswith(str(tmp_path))

        def call(self, name, **options):
            return {"grow": [20_000, 10_000], "counted": 100.0}[name]

    monkeypatch.setattr(turns, "Worker", Worker)
    (tmp_path / "export").mkdir()
    (tmp_path / "export/export.json").write_text(json.dumps({"exports": export_rows(tmp_path)}))
    export_memory.main([f"--logs_dir={tmp_path}", f"--json={tmp_path}/out.json", "--side=10"])
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [(row["value"], row["most"]) for row in rows] == [(2.0, 1.1)] * 2
    assert rows[0]["note"] == "200 bytes a pixel, 100 asked for, 100 kept for the next picture"
    with pytest.raises(UserError, match="make the exports with --mode=export"):
        export_memory.main([f"--logs_dir={tmp_path}/none", f"--json={tmp_path}/out.json"])


def test_an_export_grows_by_what_it_labels(tmp_path):
    model = segmentation.segmentation_model(tiny_run.color_model(), ("a", "b", "c"))
    about = {"classes": [{"name": name, "color": [0, 0, 0]} for name in "abc"]}
    savedmodel.write(Source(model, about), str(tmp_path), "float32")
    (tmp_path / "classes.json").write_text(json.dumps(about))
    with turns.Worker("benchmarks.export_memory:Exported", folder=str(tmp_path)) as export:
        peak, kept = export.call("grow", side=512)
        assert export.call("counted") > 500 and peak >= kept
    assert peak > 512 * 512 * 3 * 4  # its logits


def test_what_machines_gain_by_hand():
    """A step of 1 s and 2 s an image; 100 bytes at 25 bytes a second."""
    assert distributed.line([1, 3], [3.0, 7.0]) == {"t0": 1.0, "t1": 2.0}
    assert distributed.line([1, 3], [1.0, 7.0]) == {"t0": 0.0, "t1": 3.0}  # no step takes less than nothing
    assert distributed.all_reduce_seconds(2, 100, 25) == 4 and distributed.all_reduce_seconds(8, 100, 25) == 7
    for machines, speedup in ((2, 1), (8, 6.4), (64, 60)):
        batch = distributed.smallest_batch(40.0, 1.0, 2.0, machines=machines, speedup=speedup)
        gain = [machines * (1 + 2 * b) / (1 + 2 * b + 40) for b in (batch - 1, batch)]
        assert gain[0] < speedup <= gain[1]
    assert distributed.smallest_batch(0.1, 1.0, 2.0, machines=2, speedup=1) == 1
    with pytest.raises(ValueError, match="2 machines are never 2 times as fast as one"):
        distributed.smallest_batch(1.0, 1.0, 2.0, machines=2, speedup=2)


def test_the_tables_of_machines():
    lines = distributed.table(5e8, 0.5, 1.0, software=1e9)
    assert [line["seconds"] for line in lines[:3]] == [4.0, 0.5, 0.5]  # no more than 1e9 bytes a second are sent
    timed = {"fcn8s": {"t0": 0.5, "t1": 1.0, "table": lines}}
    result = results() | {"timed": timed, "parameters": {"fcn8s": 125e6}, "efficiency": 0.8}
    result["software_bytes_per_second"] = 1e9
    texts = report.distributed_tables(result)
    assert "| `fcn8s` | 125.0 M | 500 MB | 250 MB |" in texts[1]
    assert texts[3].splitlines()[2] == "| 2 | 4 s; 4; 16 | 0.5 s; 1; 2 | 0.5 s; 1; 2 |"


def test_the_page_about_machines_is_current():
    paths = sorted((ROOT / "benchmarks/results").glob("distributed*.json"))
    blocks = [text for path in paths for text in report.distributed_tables(json.loads(path.read_text()))]
    text = (ROOT / "docs/distributed.md").read_text()
    assert text == report.filled(text, blocks, begin=report.DISTRIBUTED), "run python benchmarks/report.py"


def test_a_member_takes_steps_and_sums(narrow):
    member = distributed.Member(tf_config="", weights=narrow, arch="original", **SIZE)
    facts = member.facts()
    assert facts["gradient_bytes"] == 4 * facts["parameters"] > 0
    for seconds in (member.step(), member.reduce(dtype="float32"), member.reduce(dtype="bfloat16")):
        assert seconds["wall"] > 0 and seconds["cpu"] > 0


def test_gradients_are_narrowed_for_their_sum_alone():
    import tensorflow as tf

    seen = []

    def exact(context, reduce_op, value, options=None):
        seen.append(tf.nest.map_structure(lambda each: each.dtype, value))
        return value

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.distribute.ReplicaContext, "all_reduce", exact)
        with all_reduce_precision.narrowed():
            context = tf.distribute.get_replica_context()
            (narrow,) = context.all_reduce(tf.distribute.ReduceOp.SUM, [tf.constant(1 + 2.0**-12)])
            counts = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.constant(1))
    assert seen == [[tf.bfloat16], tf.int32] and narrow.dtype == tf.float32 and float(narrow) == 1 and int(counts) == 1


def test_rows_of_what_sending_less_costs():
    found = {
        name: [{"val_mean_iou": 0.5 + more, "val_loss": 1.0}, {"val_mean_iou": 0.7 + more, "val_loss": 1.0}]
        for name, more in (("float32", 0.0), ("bfloat16", 0.01), ("accumulate", -0.1))
    }
    lines = all_reduce_precision.rows(found, 100)
    assert [line["value"] for line in lines[::2]] == pytest.approx([0.6, 0.61, 0.5])
    assert "+0.0100 from float32's, +0.0100 to +0.0100" in lines[2]["note"]


def test_an_accuracy_is_trained_and_evaluated(tmp_path):
    path, runs = tmp_path / "accuracy-short.json", tmp_path / "runs"
    config = tmp_path / "short.cfg"
    config.write_text("--image_size=32\n--batch_size=2\n")
    data_dir = tiny_training.write_camvid(tmp_path / "data", validation=6)
    flags = ["--max_steps=4", "--eval_every=2", "--dataset=camvid", f"--data_dir={data_dir}"]
    flags.append(f"--weights={tiny_training.write_weights(tmp_path)}")
    command = [f"--config={config}", f"--json={path}", f"--logs_dir={runs}"]
    accuracy.main([*command, "--", *flags])
    found = json.loads(path.read_text())
    (seed,) = found["seeds"]
    assert seed["trained_from"] == str(common.revision())
    assert seed["steps"] == 4 and seed["trained_images"] == 8 and [step for step, _ in seed["curve"]] == [2, 4]
    assert seed["interval"][0] <= seed["mean_iou"] <= seed["interval"][1] and seed["parameters"] > 1000
    metrics = json.loads((runs / "short/seed0/evaluation/metrics.json").read_text())
    assert seed["mean_iou"] == metrics["mean_iou"] == pytest.approx(max(iou for _, iou in seed["curve"]), abs=1e-6)
    assert found["command"].startswith("python main.py --flagfile=short.cfg --max_steps=4")
    assert f"| {seed['mean_iou']:.3f} ({seed['interval'][0]:.3f} to " in report.accuracy_table([found])
    assert str(tmp_path) not in path.read_text()
    (runs / "short/seed0.revision").write_text("older")
    accuracy.main([*command, "--seeds=2", "--", *flags])
    two = json.loads(path.read_text())
    assert [each["seed"] for each in two["seeds"]] == [0, 1] and two["seeds"][0]["trained_from"] == "older"
    first, second = (each["mean_iou"] for each in two["seeds"])
    assert two["rows"][0]["value"] == pytest.approx((first + second) / 2)
    table = report.accuracy_table([two])
    assert f"| {(first + second) / 2:.3f} ({first:.3f}, {second:.3f}) |" in table and "| minutes |" in table
    assert "minutes" not in report.accuracy_table([two | {"table": "networks"}])


def test_the_numbers_of_a_training_step():
    args = train_step.argparse.Namespace(image_size=32, batch_size=2, matmul_size=10)
    layers = [network.Layer("conv1_1", (1, 1, 1, 1), 32), network.Layer("conv8", (1, 1, 1, 50), 32)]
    # (3 x 51 - 1) multiply-adds, 2 FLOPs each, 2 images; a product of 10-cubed is 2000 FLOPs.
    rounds = [
        {"twin": seconds, "float32": 2.0, "bfloat16": 1.0, "matmul_float32": 1.0, "matmul_bfloat16": 0.5}
        for seconds in (4.0, 3.0, 5.0)
    ]
    peaks = {"twin": 100, "float32": 90, "bfloat16": 70}
    found = train_step.summarize(rounds, peaks, layers, args)
    assert found["float32_rate_vs_twin"] == 2.0 and found["bfloat16_rate_vs_twin"] == 4.0
    assert found["memory_vs_twin"] == 0.7 and found["images_per_second"] == {"twin": 0.5, "float32": 1, "bfloat16": 2}
    assert found["flops"]["per_step"] == 608
    assert found["share_of_peak"]["float32"] == pytest.approx((608 / 2) / (2000 / 1))
    assert found["share_of_peak"]["bfloat16"] == pytest.approx((608 / 1) / (2000 / 0.5))
    assert found["rate_vs_twin_at_the_peak"]["bfloat16"] == pytest.approx(4.0 / 608 * (2000 / 0.5))
    assert not any("instructions" in row["note"] for row in found["rows"])

    for times in rounds:
        del times["matmul_bfloat16"]
    found = train_step.summarize(rounds, peaks, layers, args)
    assert found["share_of_peak"]["bfloat16"] == pytest.approx((608 / 1) / (2000 / 1))
    assert ["instructions" in row["note"] for row in found["rows"]] == [False, False, True, True, False]


def test_the_parts_of_a_step_add_up():
    table = [("_MklMatMul", 4, 2.0), ("_MklNativeConv2DBackpropFilterWithBias", 2, 1.0), ("Cast", 2, 0.4)]
    table += [("ResourceApplyAdam", 2, 0.3), ("CastHelp", 2, 0.1), ("Relu", 2, 0.2)]
    rows = step_profile.summarize("float32", table, [2.5, 2.5])
    assert [row["value"] for row in rows] == pytest.approx([2.5, 1.5, 0.15, 0.2, 0.15, 0.5])
    assert "matrix" in rows[1]["what"] and rows[1]["note"] == "60.0%"


def test_a_step_is_traced(narrow):
    traced = step_profile.Traced(weights=narrow, precision="bfloat16", **SIZE)
    table, steps = traced.costs(2)
    assert len(steps) == 2 and any("Conv2D" in name for name, _, _ in table)
    assert 0 < sum(seconds for _, _, seconds in table)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    return matfiles.write_mat(
        tmp_path_factory.mktemp("weights") / "narrow.mat", matfiles.vgg_convs(19, (4, 4, 6, 6, 8))
    )


def test_twin_and_product_are_one_network_that_learns_the_same(narrow):
    """Logits, and the losses of three steps with dropout off, so that forward, backward and Adam are compared."""
    from benchmarks import contenders

    product = contenders.Product(weights=narrow, dropout=0.0, learning_rate=1e-2, **SIZE)
    plain = contenders.PlainTwin(weights=narrow, dropout=0.0, **SIZE)
    plain.twin._learning_rate = 1e-2
    model = product.model
    assert plain.twin.parameters() == model.count_params()
    for name, variables in plain.twin.variables.items():
        for mine, theirs in zip(variables, model.get_layer(name).weights, strict=True):
            if name.startswith("conv") and "_" in name and name[4].isdigit():
                np.testing.assert_array_equal(mine, theirs)  # both from the file, kernels swapped
            # Upstream's new kernels are so small that a wrong one would hardly show.
            values = np.random.default_rng(len(name)).normal(0, 0.1, mine.shape)
            if not name[5:6] == "_":
                mine.assign(values)
                theirs.assign(values)
    images = np.random.default_rng(1).integers(0, 256, (2, 49, 75, 3)).astype(np.float32)
    want = model(images).numpy()
    assert np.std(want) > 1e-2
    np.testing.assert_allclose(plain.twin.logits(images), want, atol=1e-4)
    losses, twins = product.losses(3), plain.losses(3)
    assert losses[2] < losses[0] - 0.01
    np.testing.assert_allclose(losses, twins, rtol=1e-4)


def test_dropout_is_only_in_training(narrow):
    from benchmarks import contenders

    twin = contenders.PlainTwin(weights=narrow, **SIZE).twin
    images = np.zeros((1, 32, 32, 3), np.float32)
    np.testing.assert_array_equal(twin.logits(images), twin.logits(images))
    assert np.abs(twin.logits(images) - twin.logits(images, training=True)).max() > 0


def test_the_loop_asks_for_each_batch_in_time(narrow):
    """summaries.py times the loop by when it asks for batches: no batch is asked for ahead."""
    from benchmarks import contenders

    product = contenders.Product(weights=narrow, **SIZE)
    taken = product.step()
    first, second = product.fit(4, log_every=2), product.fit(3, log_every=100)
    assert taken > 0 and [len(first), len(second)] == [4, 3]
    times = np.array(first + second)
    assert (np.diff(times) > 1e-3).all()  # a step lies between any two


@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_fused_optimizers_do_what_those_of_keras_do(name):
    from benchmarks.optimizer_step import Update

    shapes: list[tuple[int, ...]] = [(3, 3, 4, 8), (8,)]
    fused, keras = Update("fused", shapes, name), Update("keras", shapes, name)
    start = [variable.numpy() for variable in fused._variables]
    for _ in range(10):
        assert fused.step() > 0 and keras.step() > 0
    assert fused.difference(keras) <= 1e-5
    assert all(np.abs(now.numpy() - then).max() > 1e-5 for now, then in zip(fused._variables, start, strict=True))


def test_a_peer_that_is_not_installed_is_named():
    options = {"package": "keras-segmentation", **SIZE}
    try:
        importlib.metadata.version("keras-segmentation")
    except importlib.metadata.PackageNotFoundError:
        with turns.Worker("benchmarks.peer_keras:Keras", **options) as worker:
            with pytest.raises(turns.WorkerError, match="keras-segmentation"):
                worker.ready()
    else:
        pytest.skip("keras-segmentation is installed")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_fcn8s_in_torch(precision):
    torch = pytest.importorskip("torch", reason="PyTorch is no dependency; benchmarks/peers.py uses it where it is")
    from benchmarks import peer_torch

    stages = ((1, 4), (1, 4), (1, 6), (1, 6), (1, 8))
    assert peer_torch.Fcn8s(5, stages=stages)(torch.zeros(1, 3, 64, 96)).shape == (1, 5, 64, 96)
    ramp = peer_torch._enlarge(1, 2)(torch.arange(8.0).expand(1, 1, 3, 8)).detach().numpy()[0, 0, 2]
    np.testing.assert_allclose(ramp[1:-1], np.arange(1, 15) / 2 - 0.25)
    losses = peer_torch.Torch(**SIZE, precision=precision, stages=stages).losses(5)
    assert losses[0] == pytest.approx(math.log(5), rel=1e-3)  # score layers start at zero
    assert losses[4] < losses[0]


@pytest.mark.slow  # of its processes each imports TensorFlow and traces a step
def test_train_step_from_end_to_end(tmp_path):
    path = tmp_path / "new" / "train_step.json"
    flags = ["--weights=tiny", "--image_size=32", "--num_classes=5", "--rounds=3", "--matmul_size=64", f"--json={path}"]
    done = subprocess.run(
        [sys.executable, "benchmarks/train_step.py", *flags], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    for name in ("float32_rate_vs_twin", "bfloat16_rate_vs_twin", "memory_vs_twin"):
        assert 0 < found[name] < 100
    assert set(found["share_of_peak"]) == {"float32", "bfloat16"}
    assert set(found["images_per_second"]) == set(found["peak_bytes"]) == {"twin", "float32", "bfloat16"}
    assert found["machine"]["cores"] >= 1 and isinstance(found["bfloat16_supported_by_processor"], bool)
    assert found["settings"]["weights"] == "tiny" and found["versions"]["tensorflow"]
    assert len(found["rounds_seconds"]) == 3
    assert str(ROOT) not in path.read_text()


def test_what_events_cost_is_found_where_it_is_spent(narrow, monkeypatch):
    """Steps that log take longer by what is written in them, and nothing else does."""
    from benchmarks import summaries
    from fcn_tf.training.tensorboard import Summaries

    def slow(self, values, step):
        time.sleep(0.3)

    monkeypatch.setattr(Summaries, "train_scalars", slow)
    watched = summaries.Watched(weights=narrow, arch="original", precision="float32", **SIZE)
    watched.train(steps=10)
    seconds, spent = watched.train(steps=30)
    assert len(seconds) == 28 and 0.9 < spent["train_scalars"] < 2
    assert spent["classes"] > 0 and spent["pictures"] > 0
    assert {number for number, taken in enumerate(seconds) if taken > 0.3} == {8, 18}


def test_the_soak_is_shown_where_it_is_promised():
    paths = sorted((ROOT / "benchmarks/results").glob("soak*.json"))
    blocks = [text for path in paths for text in report._table(json.loads(path.read_text()))]
    text = (ROOT / "RELIABILITY.md").read_text()
    assert text == report.filled(text, blocks, begin=report.SOAK), "run python benchmarks/report.py"


def test_a_process_is_watched(tmp_path):
    """One that opens a file and writes one each time it is told: both are seen, and nothing after its end."""
    code = "import sys\nheld = []\nfor line in sys.stdin:\n    held.append(open(line.strip(), 'w'))"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True)
    try:
        assert len(watching.watch(process, every=0.01, seconds=0.1)) > 2
        before = watching.watch(process, every=1, seconds=0.01, folder=str(tmp_path / "none"))[0]
        print(tmp_path / "a", file=process.stdin, flush=True)
        print(tmp_path / "b", file=process.stdin, flush=True)
        while not (tmp_path / "b").exists():
            time.sleep(0.01)
        after = watching.watch(process, every=1, seconds=0.01, folder=str(tmp_path))[0]
        assert after.open_files == before.open_files + 2 and (before.files, after.files) == (0, 2)
        assert after.memory > 2**20 and after.threads == 1
    finally:
        process.stdin.close()
        process.wait()
    assert watching.watch(process, every=1) == []


def test_what_grows_in_a_soak_by_hand():
    """A warm-up of two of eight samples, then 10 MB and half a file every 60 s."""
    warm = [watching.Sample(60.0 * i, 100_000_000 + 10_000_000 * i, 7, 3, i // 2) for i in range(6)]
    cold = [watching.Sample(-60.0 * i, 1, 1, 1, 1) for i in (2, 1)]
    memory, *counted = soak.rows("x", cold + warm, counted={"open_files": "open files", "files": "files"})
    assert memory["value"] == pytest.approx(1.5) and memory["most"] == watching.FLAT
    assert memory["note"] == "100 to 150 MB, slope +600.0 MB an hour"
    # Least squares through 0, 0, 1, 1, 2, 2 rises by 16 / 35 a sample.
    assert [row["value"] for row in counted] == pytest.approx([0, 5 * 16 / 35], abs=1e-9)
    with pytest.raises(UserError, match="gave 1 samples, expected 3 at least"):
        list(soak.rows("x", warm[:1], counted={}))


@pytest.mark.slow
def test_a_soak_from_end_to_end(tmp_path):
    path = tmp_path / "soak.json"
    soak.main(["--minutes=1", "--eval_every=10", "--pictures=12", "--every=0.2", f"--json={path}"])
    found = json.loads(path.read_text())
    assert {row["what"]: row["value"] for row in found["rows"]}["pictures labelled"] == 12
    assert len(found["samples"]["train"]) > 20 and len(found["columns"]) == len(found["samples"]["predict"][0])


@pytest.mark.slow
def test_a_fuzz_from_end_to_end(tmp_path, capsys, monkeypatch):
    arguments = ["--seconds=0", "--readers", "journal", "classes", f"--json={tmp_path / 'fuzz.json'}"]
    monkeypatch.setattr(fuzz, "_TRIES", 5)
    fuzz.main(arguments)
    found = json.loads((tmp_path / "fuzz.json").read_text())["readers"]
    assert found["journal"]["tries"] == 5 and found["classes"]["failures"] == 0
    broken = fuzzing.Reader(lambda at: (at / "a").write_bytes(b"1"), ("a",), lambda at: 1 / 0)
    monkeypatch.setitem(fuzzing.READERS, "journal", broken)
    with pytest.raises(SystemExit) as end:
        fuzz.main(arguments)
    assert end.value.code == 1 and "ZeroDivisionError" in capsys.readouterr().err


def test_a_revision_against_itself(tmp_path):
    path = tmp_path / "revisions.json"
    flags = ["--weights=tiny", "--image_size=32", "--width=64", "--height=48", "--images=3", "--rounds=3"]
    done = subprocess.run(
        [sys.executable, "benchmarks/revisions.py", f"--other={ROOT}", *flags, f"--json={path}"],
        cwd=ROOT, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    assert set(found["pairs"]) == {"training", "evaluate", "predict"}
    assert all(pair["pairs"] == 3 and 0 < pair["low"] <= pair["median"] for pair in found["pairs"].values())
    assert str(ROOT) not in path.read_text()


@pytest.mark.parametrize(
    ("script", "flag", "told"),
    [("train_step", "--weights=/nowhere.mat", "does not exist"), ("summaries", "--steps=25", "expected 30, 40, 50")],
)
def test_a_mistake_is_one_line(script, flag, told, tmp_path):
    command = [sys.executable, f"benchmarks/{script}.py", flag, f"--json={tmp_path / 'none.json'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert told in done.stderr and not os.listdir(tmp_path)


def trace(*events):
    """A trace of (name, begin, duration), in microseconds, on two lines that begin at different times."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    made = xplane_pb2.XSpace()
    plane = made.planes.add(name="/host:CPU")
    for number, (name, begin, duration) in enumerate(events):
        line = plane.lines.add(timestamp_ns=1000 * (number % 2))
        plane.event_metadata[number].name = name
        line.events.add(metadata_id=number, offset_ps=10**6 * (begin - number % 2), duration_ps=10**6 * duration)
    return made


def test_the_costs_of_operations_by_hand():
    table, steps = step_profile.costs(
        trace(
            ("train", 10, 20),
            ("model/conv1_1/convolution:Conv2D", 12, 5),
            ("model/conv1_2/convolution:Conv2D", 17, 7),
            ("mul:Mul", 12, 1),
            ("validation/convolution:Conv2D", 40, 5),  # between the steps
            ("train", 50, 30),
            ("relu:Relu", 55, 14),
            ("Iterator::Prefetch", 60, 9),  # no operation
        )
    )
    assert table == [
        ("Relu", 1, pytest.approx(14e-6)),
        ("Conv2D", 2, pytest.approx(12e-6)),
        ("Mul", 1, pytest.approx(1e-6)),
    ]
    assert steps == pytest.approx([20e-6, 30e-6])
