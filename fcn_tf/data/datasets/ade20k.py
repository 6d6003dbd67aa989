"""MIT SceneParsing: 150 classes of ADE20K (Zhou et al. 2017), 20,210 photos to train on, 2,000 to validate.

Label maps hold 1..150, and 0 for everything else. The benchmark leaves 0 out, and so does `SPEC`; a network
still has 151 outputs, as upstream, so that ids in files and in predictions are the same.
"""

import os
import zipfile

from tqdm import tqdm

from fcn_tf.data import palette
from fcn_tf.data.base import Dataset, DatasetEntry, DatasetSpec, require_split
from fcn_tf.data.datasets import pairs
from fcn_tf.errors import UserError
from fcn_tf.io import archives, downloads, files

# The first name of each line of the data set's objectInfo150.txt, from id 1 on.
_NAMES = """
wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth,
door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug,
field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column,
signboard, chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path,
stairs, runway, case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee
table, toilet, flower, book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair,
boat, bar, arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth,
television, airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle, buffet,
poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel,
basket, waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot,
animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray,
ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag
"""

# color150.mat of the benchmark's toolkit, as rrggbb, but for class 49: there it has the colour of class 7.
_COLORS = """
787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d 787846 08ff33
ff0652 8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0 0907e6 dcdcdc ff095c 7009ff
08ffd6 07ffe0 ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06 ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff
eb0cff a09614 00a3ff 8c8cc8 fa0a0f 14ff00 1fff00 ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff
0bc8c8 ff5200 00fff5 003dff 00ff70 00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad
0a00ff adff00 00ff99 ff5c00 ff00ff ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2
00ff52 000aff 0070ff 3300ff 00c2ff 007aff 00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00 08b8aa
8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070 5cff00 00e0ff 70e0ff 46b8a0 a300ff 9900ff 47ff00 ff00a3
ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500 0abed4 d6ff00 00ccff 1400ff ffff00 0099ff 0029ff
00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8 005cff b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff
"""

SPEC = DatasetSpec(
    name="ade20k",
    class_names=("other", *" ".join(_NAMES.split()).split(", ")),
    colors=((0, 0, 0), *((color[0], color[1], color[2]) for color in map(bytes.fromhex, _COLORS.split()))),
    ignore_label=0,
)

_FOLDER = "ADEChallengeData2016"
_FOLDERS = {  # the label maps of the test set were never published
    "train": ("images/training", "annotations/training"),
    "validation": ("images/validation", "annotations/validation"),
}


def palette_colors(count: int) -> tuple[palette.Color, ...]:
    """The colours of the ids 0, 1, ... for --palette=ade20k."""
    return palette.extended(SPEC.colors, count)


def load(data_dir: str, split: str) -> Dataset:
    """Lists one split of MIT SceneParsing; unpacks or downloads it first where it is not there.

    Args:
      data_dir: the parent of ADEChallengeData2016/, or that folder itself. A zip put there by hand is used.
      split: "train", "validation" or "all".

    Raises:
      UserError: if it cannot be had, the split is missing or its files do not pair.
    """
    require_split("ade20k", split, _FOLDERS)  # before a gigabyte is downloaded
    return pairs.load_pairs(SPEC, split, pairs.choose_split("ade20k", _root(data_dir), split, _FOLDERS))


def _root(data_dir: str) -> str:
    """The folder with images/ and annotations/, which is made where missing."""
    root = files.join(data_dir, _FOLDER)
    for folder in (root, data_dir):
        if files.is_dir(files.join(folder, "images")) and files.is_dir(files.join(folder, "annotations")):
            return folder
    if files.is_dir(root) and files.list_dir(root):
        raise UserError(
            f"{root}: holds {', '.join(files.list_dir(root)[:4])}; expected images/ and annotations/. "
            "Complete it, or remove it to have it unpacked anew."
        )
    archive = files.join(data_dir, _FOLDER + ".zip")
    unpack(downloads.fetch(downloads.ADE20K, archive), root)
    return root


def unpack(archive: str, folder: str) -> None:
    """Unpacks the top folder of a zip as `folder`, which appears only once it is complete.

    What an interrupted call has unpacked is kept beside it and used by the next.

    Args:
      archive: path of the zip; its top folder must be called as the last component of `folder`.
      folder: where to; not there yet.

    Raises:
      UserError: if the zip is damaged, is another one, or the disk is full.
    """
    partial, top = folder + ".unpacking", os.path.basename(folder) + "/"
    # It may have been put there by hand: who did decides about it.
    fix = f"Put a whole copy in its place, from {downloads.ADE20K.url}"
    try:
        with files.open_regular(archive) as stream, zipfile.ZipFile(stream) as opened:
            archives.check_members(opened.infolist(), files.size(archive))
            members = [m for m in opened.infolist() if m.filename.startswith(top) and not m.is_dir()]
            if not members:
                raise UserError(f"{archive}: holds no folder {top}; is this another archive? {fix}")
            for member in tqdm(members, desc=f"unpacking {os.path.basename(archive)}", unit=" files", leave=False):
                target = files.join(partial, *member.filename.split("/")[1:])
                # Files are written whole or not at all, so one that is there is complete.
                if not files.exists(target) or files.size(target) != member.file_size:
                    files.write_bytes(target, opened.read(member))
        files.replace(partial, folder)
    except OSError as error:
        raise UserError(f"{archive}: cannot be unpacked to {partial}: {error.strerror or error}.") from None
    except archives.ZIP_ERRORS as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{archive}: not a whole zip file ({error}). {fix}") from None


ENTRY = DatasetEntry(load, batch_size=2, max_steps=100_000, eval_every=10_000, save_every=1_000)  # the original's
