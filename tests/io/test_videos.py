"""videos: whole on the disk, or not at all and told."""

import os

import cv2
import numpy as np
import pytest

from fcn_tf.io import videos
from tests import disks


def noise(count, height=32, width=48):
    return np.random.default_rng(0).integers(0, 255, (count, height, width, 3), np.uint8)


def write(path, frames, rate=5.0):
    with videos.writing(str(path), rate=rate) as writer:
        for frame in frames:
            writer.add(frame)


def read(path):
    """What a video says about itself, and the shapes of its frames."""
    with videos.reading(str(path)) as (video, frames):
        return video, [frame.shape for frame in frames]


@pytest.mark.parametrize("rate", [0.5, 5.0, 29.97, 1000.0])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_every_frame_is_there(tmp_path, count, rate):
    write(tmp_path / "a.mp4", noise(count), rate)
    video, shapes = read(tmp_path / "a.mp4")
    assert video.frames == count and shapes == [(32, 48, 3)] * count and video.rate == pytest.approx(rate, rel=0.01)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path, share):
    write(tmp_path / "whole.mp4", noise(20))
    (tmp_path / "a.mp4").write_bytes(b"before")
    most = int((tmp_path / "whole.mp4").stat().st_size * share)
    with disks.no_file_larger_than(most), pytest.raises(OSError, match="of 20 frames came out incomplete; is the disk"):
        write(tmp_path / "a.mp4", noise(20))
    assert (tmp_path / "a.mp4").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "whole.mp4"]


def test_odd_rows_and_columns_are_cut_off(tmp_path):
    write(tmp_path / "a.mp4", noise(2, 33, 21))
    assert read(tmp_path / "a.mp4")[1] == [(32, 20, 3)] * 2


@pytest.mark.parametrize(("height", "width"), [(20, 1), (1, 20), (1, 1)])
def test_one_pixel_is_too_narrow(tmp_path, height, width):
    with pytest.raises(OSError, match=f"a video of {width}x{height} pixels; MPEG-4 takes 2x2 or more, --outputs=lab"):
        write(tmp_path / "a.mp4", noise(1, height, width))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.avi", "mp4v"), ("A.TS", "mp4v"), ("a.mts", "mpg2"), ("a.m2ts", "mpg2"), ("a.flv", "FLV1"), ("a.3gp", "mp4v")],
)
def test_what_is_taken_for_a_video_is_read(tmp_path, name, codec):
    code = cv2.VideoWriter.fourcc(*codec)
    writer = cv2.VideoWriter(str(tmp_path / name.lower()), cv2.CAP_FFMPEG, code, 25.0, (176, 144))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV does not write {codec}")
    for frame in noise(3, 144, 176):
        writer.write(frame)
    writer.release()
    os.rename(tmp_path / name.lower(), tmp_path / name)
    assert videos.is_video(str(tmp_path / name))
    assert read(tmp_path / name)[1] == [(144, 176, 3)] * 3


@pytest.mark.parametrize("name", ["index.ts", "INDEX.TS", "module.mts"])
def test_typescript_is_no_video(tmp_path, name):
    path = tmp_path / name
    for content in (b"", b"G", b"import { Graph } from './graph'\n" * 20, b"G" + bytes(300)):
        path.write_bytes(content)
        assert not videos.is_video(str(path))
    for first, second in ((0, 188), (0, 204), (4, 196)):
        packets = bytearray(400)
        packets[first] = packets[second] = 0x47
        path.write_bytes(packets)
        assert videos.is_video(str(path))


def test_the_name_alone_decides_of_other_videos_and_of_what_cannot_be_read(tmp_path):
    (tmp_path / "a.m2ts").write_bytes(b"no packets")
    assert videos.is_video(str(tmp_path / "a.m2ts")) and videos.is_video(str(tmp_path / "gone.ts"))
    assert not videos.is_video(str(tmp_path / "a.tsx"))
