"""Events that cannot be written; what is in them is read back in test_loop.py."""

from fcn_tf.io.run_dir import Run
from fcn_tf.training.tensorboard import Summaries
from tests import disks, tiny_training


def test_events_on_a_full_disk_are_told_once_and_given_up(tmp_path, capsys):
    run = Run(str(tmp_path))
    summaries = Summaries(run, tiny_training.SPEC)
    summaries.train_scalars({"loss": 1.0}, 1)
    with disks.no_file_larger_than(100):
        for step in (2, 3):
            summaries.train_scalars({"loss": 1.0}, step)
    summaries.train_scalars({"loss": 1.0}, 4)  # behind half an event, nothing can be read
    summaries.validation_scalars({"loss": 2.0}, 4)
    summaries.flush()
    told = f"warning: TensorBoard's events in {run.train_events} cannot be written (File too large); "
    assert capsys.readouterr().err == f"{told}training goes on without\n"
    assert tiny_training.events(run.validation_events)["loss"] == {4: 2.0}


def test_a_folder_that_cannot_be_made_is_told_once(tmp_path, capsys):
    (tmp_path / "train").touch()
    summaries = Summaries(Run(str(tmp_path)), tiny_training.SPEC)
    for step in (1, 2):
        summaries.train_scalars({"loss": 1.0}, step)
    assert capsys.readouterr().err.count("warning: ") == 1
