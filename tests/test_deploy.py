"""What stands in deploy/ is run here: by processes of this machine, and stand-ins for SLURM's programs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

from fcn_tf.io import run_dir
from fcn_tf.io.run_dir import Run
from tests import processes, tiny_training
from tests.conftest import ROOT

MANIFEST = (ROOT / "deploy/tfjob.yaml").read_text()
SCRIPT = ROOT / "deploy/train.sbatch"
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
TIMES = {"elapsed_seconds", "images_per_second"}
TINY = ["--image_size=32", "--batch_size=4", "--log_every=1", "--save_every=5", "--eval_every=20"]


@pytest.fixture
def folder(tmp_path):
    """A folder with data and weights."""
    tiny_training.write_weights(str(tmp_path))
    tiny_training.write_camvid(str(tmp_path / "camvid"))
    return tmp_path


def listed(name):
    """A list of the manifest, or of the Dockerfile, that stands on one line."""
    return json.loads(re.search(rf"^ *{name}:? (\[.*\])$", MANIFEST + DOCKERFILE, re.M)[1])


def history(logs_dir):
    return [{k: v for k, v in row.items() if k not in TIMES} for row in Run(str(logs_dir)).read_history()]


def newest(logs_dir):
    return max(run_dir.checkpoint_steps(Run(str(logs_dir)).checkpoints), default=0)


def train_two(folder, logs_dir, max_steps):
    """Two workers, undisturbed, by TF_CONFIG."""
    flags = ["--dataset=camvid", f"--data_dir={folder}/camvid", f"--weights={folder}/narrow.mat", *TINY]
    command = ["main.py", "--mode=train", *flags, f"--max_steps={max_steps}", f"--logs_dir={logs_dir}"]
    for process in [processes.start(*command, **each) for each in processes.workers(2)]:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output


def test_the_manifest_is_a_tfjob_of_the_image(monkeypatch):
    assert "apiVersion: kubeflow.org/v1\nkind: TFJob\n" in MANIFEST
    assert listed("command")[0] == listed("ENTRYPOINT")[0] == "fcn_tf"
    tag = re.search(r"docker build .* -t (\S+) ", DOCKERFILE)[1]
    assert re.search(r"^ *image: (.*)$", MANIFEST, re.M)[1].partition(":")[0] == tag
    yaml = pytest.importorskip("yaml", reason="needs PyYAML, which is no dependency")
    worker = yaml.safe_load(MANIFEST)["spec"]["tfReplicaSpecs"]["Worker"]
    (container,) = worker["template"]["spec"]["containers"]
    assert container["name"] == "tensorflow" and container["command"] == listed("command")  # the operator looks for it
    assert container["args"] == listed("args") and worker["replicas"] == 2


def test_the_dockerfile_copies_what_there_is():
    version = re.search(r"^FROM python:(3\.\d+)-slim$", DOCKERFILE, re.M)[1]
    assert f"Python :: {version}\n" in (ROOT / "setup.cfg").read_text()
    ignored = (ROOT / "deploy/Dockerfile.dockerignore").read_text().split()
    assert not {"fcn_tf", "configs", "setup.py", "setup.cfg", "README.md", "pyproject.toml"} & set(ignored)
    assert listed("CMD") == ["--help"]


def slurm(folder, tasks):
    """Stand-ins for SLURM's programs in a folder, and the variables of a job of one node with so many tasks."""
    programs = {
        "scontrol": """
            assert sys.argv[1:] == ["show", "hostnames", "node[1]"], sys.argv
            print("localhost")
        """,
        "srun": f"""
            command = [each for each in sys.argv[1:] if each != "--kill-on-bad-exit=0"]
            assert len(command) == len(sys.argv) - 2
            tasks = [
                subprocess.Popen(command, env=os.environ | {{"SLURM_PROCID": str(number)}}) for number in range({tasks})
            ]
            for number, task in enumerate(tasks):
                os.write(1, f"task {{number}} is {{task.pid}}\\n".encode())
            statuses = [task.wait() for task in tasks]
            sys.exit(max(status if status >= 0 else 128 - status for status in statuses))
        """,
    }
    (folder / "bin").mkdir()
    for name, text in programs.items():
        (folder / "bin" / name).write_text(f"#!{sys.executable}\nimport os, subprocess, sys\n{textwrap.dedent(text)}")
        (folder / "bin" / name).chmod(0o755)
    job = {"SLURM_JOB_NODELIST": "node[1]", "SLURM_NTASKS_PER_NODE": str(tasks), "PORT": str(port_of_two())}
    path = f"{folder}/bin{os.pathsep}{os.environ['PATH']}"
    return processes.ENVIRONMENT | job | {"PATH": path, "FCN_TF": f"{sys.executable} main.py"}


def port_of_two():
    """A port that is free, as the next one is."""
    while True:
        port = processes.free_port()
        if port < 65535:
            return port


def start_script(environment, *flags):
    return subprocess.Popen(
        [SCRIPT, *flags],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_script_tells_each_task_which_worker_it_is(folder):
    """By a command that prints it, and whose status is 75 the first time: all are started again."""
    (folder / "tell.py").write_text(
        "import json, os, pathlib, sys\n"
        "config = json.loads(os.environ['TF_CONFIG'])\n"
        "mark = pathlib.Path(sys.argv[0] + str(config['task']['index']))\n"
        "sys.stdout.write('TOLD ' + json.dumps([config, sys.argv[1:]]) + chr(10))\n"  # in one piece
        "first = not mark.exists()\nmark.touch()\nsys.exit(75 if first else 3)\n"
    )
    environment = slurm(folder, tasks=2) | {"FCN_TF": f"{sys.executable} {folder}/tell.py", "PORT": "2222"}
    process = start_script(environment, "--logs_dir=a b")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 3, output
    told = [json.loads(line.removeprefix("TOLD ")) for line in output.splitlines() if line.startswith("TOLD ")]
    workers = ["localhost:2222", "localhost:2223"]
    for index in (0, 1):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        assert told.count([config, ["--mode=train", "--logs_dir=a b"]]) == 2, output
    assert len(told) == 4 and output.count("a worker was lost (status 75)") == 1


@pytest.mark.slow
def test_the_manifests_command_trains(folder):
    command = [*listed("command"), *(text.replace("/shared", str(folder)) for text in listed("args"))]
    assert command.pop(0) == "fcn_tf"
    more = [f"--weights={folder}/narrow.mat", *TINY, "--max_steps=20"]
    started = [processes.start("main.py", *command, *more, **each) for each in processes.workers(2)]
    for process in started:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0 and "2 replica(s)" in output, output
    assert len(history(folder / "logs/camvid")) == 1


@pytest.mark.slow
def test_workers_of_the_script_restart_after_kill_9_and_the_history_is_that_of_an_uninterrupted_training(folder):
    train_two(folder, folder / "whole", 40)
    flags = ["--dataset=camvid", f"--data_dir={folder}/camvid", f"--weights={folder}/narrow.mat", *TINY]
    process = start_script(slurm(folder, tasks=2), *flags, "--max_steps=40", f"--logs_dir={folder}/slurm")
    lines: list[str] = []
    while len(lines) < 2:
        if (line := process.stdout.readline()).startswith("task "):
            lines.append(line)
    processes.wait_for(lambda: newest(folder / "slurm") >= 10, process, seconds=600)
    os.kill(int(lines[1].split()[-1]), signal.SIGKILL)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert "error: lost another worker" in output and "a worker was lost (status 137); all start again" in output
    assert output.count("resumed at step") == 2 and "Traceback" not in output, output
    assert history(folder / "slurm") == history(folder / "whole") and len(history(folder / "slurm")) == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_script_is_bash():
    assert subprocess.run(["bash", "-n", SCRIPT], check=False).returncode == 0 and os.access(SCRIPT, os.X_OK)
