"""How much memory there is, on machines made of files."""

import sys

import pytest

from fcn_tf.errors import UserError
from fcn_tf.io.system import has_instructions, memory_for_us, memory_left, require_packages, reservable, threads

GIB = 2**30
PROC = {"proc/meminfo": f"MemAvailable: {8 * 2**20} kB\n", "proc/self/status": "VmRSS:\t1048576 kB\n"}


def machine(folder, **files):
    for path, text in (PROC | files).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return str(folder)


def test_what_is_free_and_what_we_have(tmp_path):
    assert memory_for_us(machine(tmp_path)) == 9 * GIB


@pytest.mark.parametrize(
    "files, gibibytes",
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{4 * GIB}\n"}, 4),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 9),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{64 * GIB}\n"}, 9),
        # The group around ours is narrower; the folder of ours is not seen.
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": f"{2 * GIB}\n"}, 2),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/\n4:memory:/job\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63 - 4096}\n",
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{3 * GIB}\n",
            },
            3,
        ),
        # Others in it hold 2 GiB beside our 1, and 1 of these is of files that were read.
        (
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": f"{5 * GIB}\n",
                "sys/fs/cgroup/memory.current": f"{3 * GIB}\n",
                "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {GIB}\nactive_file 7\n",
            },
            4,
        ),
    ],
    ids=["a limit", "none", "a wide one", "an outer one", "version 1", "a shared one"],
)
def test_control_groups_limit_it(tmp_path, files, gibibytes):
    assert memory_for_us(machine(tmp_path, **files)) == gibibytes * GIB


def test_the_address_space_limits_it(tmp_path):
    limits = "Limit                     Soft Limit           Hard Limit           Units     \n"
    limited = f"{limits}Max address space         {6 * GIB}           unlimited            bytes     \n"
    status = f"VmSize:\t{4 * 2**20} kB\nVmRSS:\t{2**20} kB\n"
    meminfo = PROC["proc/meminfo"] + f"MemTotal: {16 * 2**20} kB\nSwapTotal: {2**20} kB\n"
    root = machine(tmp_path, **{"proc/self/limits": limited, "proc/self/status": status, "proc/meminfo": meminfo})
    assert memory_left(root) == 2 * GIB and memory_for_us(root) == 3 * GIB and reservable(root) == 2 * GIB
    unlimited = f"{limits}Max address space         unlimited            unlimited            bytes     \n"
    root = machine(tmp_path, **{"proc/self/limits": unlimited, "proc/self/status": status, "proc/meminfo": meminfo})
    assert memory_left(root) == 8 * GIB and reservable(root) == 17 * GIB


def test_what_is_left_is_never_less_than_nothing(tmp_path):
    group = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1\n", "sys/fs/cgroup/memory.current": "9\n"}
    assert memory_left(machine(tmp_path, **group)) == 0


def test_elsewhere_nothing_is_known(tmp_path):
    assert memory_for_us(str(tmp_path)) is None
    assert memory_left(str(tmp_path)) is None and reservable(str(tmp_path)) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says")
def test_this_machine_has_some():
    found = memory_for_us()
    assert found is not None and found > 2**20


@pytest.mark.parametrize(
    "text, bfloat16, float16",
    [
        ("flags\t\t: fpu avx512_bf16 amx_tile\n", True, False),
        ("flags : amx_bf16 avx512_fp16\n", True, True),
        ("Features : fp asimd bf16\n", False, False),
        ("flags : avx512f avx512_bf16x\n", False, False),
        ("", False, False),
    ],
)
def test_which_narrow_types_are_multiplied(tmp_path, text, bfloat16, float16):
    root = machine(tmp_path, **{"proc/cpuinfo": text})
    assert has_instructions("bfloat16", root) is bfloat16 and has_instructions("float16", root) is float16


def test_where_nobody_says_nothing_narrow_is_multiplied(tmp_path):
    assert not has_instructions("bfloat16", str(tmp_path))


def test_threads_are_those_that_tensorflow_is_told_or_as_many_as_cpus(monkeypatch):
    for name in ("INTRAOP", "INTEROP"):
        monkeypatch.delenv(f"TF_NUM_{name}_THREADS", raising=False)
    cpus = threads()["cpus"]
    assert cpus > 0 and threads() == {"cpus": cpus, "intra_op_threads": cpus, "inter_op_threads": cpus}
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert threads() == {"cpus": cpus, "intra_op_threads": 3, "inter_op_threads": cpus}


def test_packages_that_are_missing_are_named_and_the_command_installs_all():
    require_packages("--mode=x", {"json": "json"})
    with pytest.raises(UserError, match="^--mode=x needs no-a, which is not installed: pip install numpy no-a$"):
        require_packages("--mode=x", {"numpy": "numpy", "no_such_a": "no-a"})
    with pytest.raises(UserError, match="^--mode=x needs no-a, no-b, which are not installed: pip install no-a no-b$"):
        require_packages("--mode=x", {"no_such_a": "no-a", "no_such_b": "no-b"})
