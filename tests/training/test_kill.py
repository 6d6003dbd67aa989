"""kill -9 in the middle of a training, and the same command again: the weights of a training that was left alone."""

import contextlib
import signal

import main
from fcn_tf.io.run_dir import Run
from tests import processes, tiny_training

_DATA = "ckpt-12.data-00000-of-00001"
_TIMED = ("images_per_second", "elapsed_seconds")


def test_killed_and_resumed_is_bit_identical(tmp_path):
    data, weights = tiny_training.write_camvid(tmp_path / "data"), tiny_training.write_weights(tmp_path)
    flags = ["--dataset=camvid", f"--data_dir={data}", f"--weights={weights}", "--image_size=32", "--batch_size=2"]
    flags += ["--max_steps=12", "--eval_every=6", "--save_every=4"]
    found = []
    for name, moment in (("alone", ""), ("saving", "ckpt-4_temp"), ("training", "ckpt-4.index")):
        command = ["main.py", *flags, f"--logs_dir={tmp_path}/{name}"]
        if moment:
            process = processes.start(*command)
            # A busy machine may miss the moment; wherever the kill comes then, the end must be the same.
            with contextlib.suppress(AssertionError):
                processes.wait_for((tmp_path / name / "checkpoints" / moment).exists, process)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        assert main.main(command) == 0
        rows = Run(str(tmp_path / name)).read_history()
        kept = [{key: value for key, value in row.items() if key not in _TIMED} for row in rows]
        found.append((kept, (tmp_path / name / "checkpoints" / _DATA).read_bytes()))
    assert found[0] == found[1] == found[2] and [row["step"] for row in found[0][0]] == [6, 12]
