"""Which value is which class, out of what all masks hold and what the flags say."""

import numpy as np
import pytest

from fcn_tf.data.datasets import ade20k
from fcn_tf.data.masks import histogram, infer, notation
from fcn_tf.data.masks.rules import MaskRules
from fcn_tf.errors import UserError
from tests.mask_files import encoded, halves, indexed, soft


def discovered(*datas, **declared):
    masks = {f"mask{place}": histogram.decode(data, name="mask")[1] for place, data in enumerate(datas)}
    return infer.infer_mask_rules(masks, infer.DeclaredClasses(**declared), name="folder")


def test_what_masks_mean_is_found_out():
    assert discovered(encoded([[0, 255]])).values == (0, 255)
    assert discovered(encoded([[0, 255]]), num_classes=2).values == (0, 255)
    assert discovered(encoded(halves(0, 255), "JPEG")).values == (0, 255)
    assert discovered(encoded([[0, 1]])).values == (0, 1)
    found = discovered(encoded([[0, 1, 2, 255]]))
    assert found.values == (0, 1, 2) and found.ignore == 255
    assert discovered(encoded([[0, 128, 255]]), num_classes=3).values == (0, 128, 255)
    assert discovered(encoded([[[255, 0, 0], [0, 0, 0]]])).colors == ((0, 0, 0), (255, 0, 0))


def test_what_masks_mean_is_said_in_one_line():
    assert infer.explain(MaskRules((0, 1, 2), ignore=255)) == "masks hold class ids 0 to 2; 255 is ignored"
    assert infer.explain(MaskRules((0, 255))) == "masks: 0 becomes class 0, 255 class 1"
    red, black = (255, 0, 0), (0, 0, 0)
    line = "masks in colours: (0, 0, 0) becomes class 0, (255, 0, 0) class 1"
    assert infer.explain(MaskRules(colors=(black, red))) == line
    many = infer.explain(MaskRules(colors=ade20k.SPEC.colors[:15]))
    assert many.count("class 11") == 1 and many.endswith(" class 11, ... (15 classes)"), "the rest is counted"


@pytest.mark.parametrize(
    ("pixels", "declared", "flag"),
    [
        ([[0, 7]], {}, "--num_classes=8"),
        ([[0, 100, 200]], {"num_classes": 2}, "--mask_values=0,100,200"),
        ([[5, 5]], {}, "--num_classes=6"),
        ([[[255, 0, 0], [0, 0, 0]]], {"num_classes": 3}, "--mask_colors"),
        ([[0, 255]], {"num_classes": 3, "values": (0, 255)}, "--num_classes=3"),
    ],
)
def test_what_is_not_clear_is_asked_for(pixels, declared, flag):
    with pytest.raises(UserError, match=flag):
        discovered(encoded(pixels), **declared)


def photo(form, channels=3):
    """Of smooth shades and noise, as a camera's, in a file of this form."""
    rng = np.random.default_rng(0)
    shades = np.linspace(0, 200, 96)[:, None, None] + np.linspace(0, 40, 96)[:, None] * np.arange(1, 1 + channels) / 3
    return encoded((shades + rng.normal(0, 5, shades.shape)).clip(0, 255).squeeze(), form)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_photos_in_place_of_masks_are_found_out(form, channels):
    with pytest.raises(
        UserError, match="^folder: the masks look like photos: .*; have photos and masks changed places"
    ):
        discovered(*[photo(form, channels)] * 2, encoded([[0, 1]]))


def test_masks_that_may_be_photos_are_taken_for_masks_if_that_is_said():
    grey = photo("PNG", channels=1)
    with pytest.raises(UserError) as caught:
        discovered(grey)
    (flag,) = caught.value.flags
    assert len(discovered(grey, num_classes=int(flag.partition("=")[2])).values) > 200
    assert discovered(photo("PNG"), colors=((0, 0, 0), (255, 0, 0))).colors == ((0, 0, 0), (255, 0, 0))


BLACK, RED, GREEN, BLUE = (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.mark.parametrize("colors", [(BLACK, RED), (BLACK, BLUE, GREEN, RED)])
@pytest.mark.parametrize("size", [(120, 160), (150, 200), (450, 600)])  # 2.5 times smaller, half as large, larger
def test_edges_that_a_resize_has_blended_are_no_classes(colors, size):
    masks = [soft(colors, seed=seed, size=size) for seed in range(8)]
    count = len({v for mask in masks for v in histogram.count(mask, name="mask").counts})
    told = f"--num_classes={len(colors)} --mask_colors={notation.format_colors(tuple(sorted(colors)))}"
    if count >= 32 + len(colors):
        rules = discovered(*masks)
    else:  # nobody knows
        with pytest.raises(UserError, match="Most are rare, as where masks were resized with blending") as caught:
            discovered(*masks)
        assert caught.value.flags[0] == told and caught.value.flags[-1] == f"--num_classes={count}"
        rules = discovered(*masks, num_classes=len(colors), colors=tuple(sorted(colors)))
    assert rules.colors == tuple(sorted(colors))
    for mask in masks:  # and every colour of theirs goes to a class
        rules.apply(*histogram.decode(mask, name="mask"), name="mask")
    # Who names the number of colours means each of them.
    if count <= 256:
        assert discovered(*masks, num_classes=count).num_classes == count


@pytest.mark.parametrize("size", [(120, 160), (150, 200), (450, 600)])
def test_blended_edges_of_greys_are_no_classes(size):
    masks = [soft((BLACK, (255, 255, 255)), seed=seed, size=size) for seed in range(8)]
    values = {v for mask in masks for v in histogram.count(mask, name="mask").counts}
    if len(values) < 34:
        with pytest.raises(UserError, match=f"masks hold {len(values)} values, all but 0,255 in thin lines") as caught:
            discovered(*masks)
        assert caught.value.flags == ("--num_classes=2 --mask_values=0,255", f"--num_classes={max(values) + 1}")
        assert discovered(*masks, num_classes=2).values == (0, 255)
    else:
        assert discovered(*masks).values == (0, 255)


def patches(*values, pixels=300, size=(300, 400)):
    """Masks of a ground of the first value, a half of the second, and a patch of so many pixels of each other."""
    masks = []
    for seed in range(5):
        mask = np.empty((*size, *np.shape(values[0])), np.uint8)
        mask[:] = values[0]
        mask[: size[0] // 2] = values[1]
        places = np.random.default_rng(seed).permutation(size[0] // 2 // 30 * (size[1] // 40))
        for place, value in zip(places, values[2:], strict=False):
            y, x = size[0] // 2 + 30 * (place // (size[1] // 40)), 40 * (place % (size[1] // 40))
            mask[y : y + pixels // 30, x : x + 30] = value
        masks.append(encoded(mask))
    return masks


def test_rare_classes_are_classes():
    """However thin: there are few of them, and they do not lie between the others."""
    rare = ((0, 0, 200), (90, 200, 10), (200, 200, 0), (10, 120, 120), (200, 0, 200), (60, 60, 0), (0, 90, 60))
    colors = (BLACK, RED, GREEN, *rare)
    assert set(discovered(*patches(*colors, pixels=30)).colors) == set(colors)
    assert set(discovered(*patches(*colors, pixels=480, size=(1500, 2000))).colors) == set(colors)


def test_levels_of_grey_that_are_rare_are_asked_for():
    greys = (0, 255, *range(32, 256, 32))
    with pytest.raises(UserError) as caught:
        discovered(*patches(*greys))
    assert any("--mask_values=0,255" in flag for flag in caught.value.flags) and len(caught.value.flags) > 1
    colors = (BLACK, RED, *((each, each, each) for each in (255, *range(32, 256, 32))))
    try:
        assert len(discovered(*patches(*colors, pixels=400)).colors) == len(colors)
    except UserError as error:
        assert f"--num_classes={len(colors)}" in error.flags  # all of them, if that is meant


@pytest.mark.parametrize("stranger", [(255, 128, 0), (128, 0, 0)])
def test_a_color_that_nobody_declared_is_no_edge(stranger):
    colors = (BLACK, RED, (255, 255, 0))
    (mask, *_) = patches(*colors, stranger, pixels=1200)
    with pytest.raises(UserError, match="mask_colors"):
        discovered(mask, colors=colors).apply(*histogram.decode(mask, name="mask"), name="mask")


def test_what_may_be_blended_edges_or_classes_is_asked_for():
    """A third colour that lies between the two others, and is no thin line."""
    square = np.zeros((100, 100, 3), np.uint8)
    square[40:60, 40:60, 0] = 120
    masks = [*(soft((BLACK, RED), seed=seed, size=(150, 200)) for seed in range(8)), encoded(square)]
    with pytest.raises(UserError, match=r"^folder: masks are coded in \d+ colours\. Most are rare, as") as caught:
        discovered(*masks)
    assert caught.value.flags[0] == "--num_classes=2 --mask_colors=000000,ff0000"
    assert ",780000," in caught.value.flags[1]
    assert [flag for flag in caught.value.flags if flag.startswith("--num_classes=") and "," not in flag]


def test_many_clean_colors_with_rare_classes_are_all_classes():
    """As of ADE20K: 150 colours, many close to others or between them, of shares down to less than 0.05 %."""
    shares = 1 / np.arange(1, 151) ** 1.5
    colors = np.array(ade20k.palette_colors(151)[1:])
    rng = np.random.default_rng(0)
    masks = []
    for place in range(12):
        here = np.unique([*rng.choice(150, 20), *range(place * 13, min(place * 13 + 13, 150))])
        ids = rng.choice(here, (30, 40), p=shares[here] / shares[here].sum())
        ids[0, : len(here)] = here
        masks.append(encoded(colors[ids.repeat(8, axis=0).repeat(8, axis=1)]))
    assert set(discovered(*masks).colors) == {tuple(color) for color in colors.tolist()}


def test_ids_beside_a_frequent_0_and_255_are_no_blended_edges():
    """As of VOC: 20 classes with rims of 255 on a ground of 0."""
    masks = []
    for seed in range(6):
        ids = np.zeros((200, 300), np.uint8)
        for place, each in enumerate(np.random.default_rng(seed).permutation(np.arange(1, 21))[:12]):
            y, x = 10 + place // 4 * 60, 10 + place % 4 * 70
            ids[y - 1 : y + 21, x - 1 : x + 26] = 255
            ids[y : y + 20, x : x + 25] = each
        masks.append(encoded(ids))
    rules = discovered(*masks)
    assert rules.num_classes == 21 and rules.ignore == 255


@pytest.mark.parametrize("quality", [50, 75, 95])
@pytest.mark.parametrize("size", [(90, 120), (150, 200), (600, 800)])
def test_compression_makes_no_classes_of_small_jpegs_in_colors(quality, size):
    colors = (BLACK, BLUE, GREEN, RED)
    rows, columns = np.mgrid[: size[0], : size[1]]
    masks = []
    for place in range(10):
        picked = np.zeros(size, int)
        for number in (1, 2, 3):
            y, x = size[0] * (0.3 + 0.04 * place), size[1] * (0.25 * number + 0.01 * place)
            picked[(rows - y) ** 2 + (columns - x) ** 2 < (size[0] / 8) ** 2] = number
        masks.append(encoded(np.array(colors)[picked], "JPEG", quality=quality))
    found = discovered(*masks).colors
    assert len(found) == 4 and np.abs(np.subtract(found, colors)).max() < 8


def test_colors_are_proposed_in_one_order():
    masks = [encoded(np.array([RED, RED, BLACK, GREEN])[np.resize([0, 1, 2, 2, 0, 3], (20, 20))])]
    with pytest.raises(UserError) as caught:
        discovered(*masks, num_classes=2)  # red is more frequent than black
    assert caught.value.flags == ("--mask_colors=000000,ff0000",)


def test_palette_images_among_masks_in_colours_are_read_by_their_palettes():
    painted = encoded([[BLACK, RED, BLUE]])
    rules = discovered(painted, indexed([[0, 1, 2]], BLACK, RED, BLUE))
    assert rules.colors == (BLACK, BLUE, RED)
    for order in ((BLACK, RED, BLUE), (BLUE, RED, BLACK)):  # whatever the indices are
        data = indexed([[order.index(color) for color in (BLACK, RED, BLUE)]], *order)
        found = rules.apply(*histogram.decode(data, name="mask"), name="mask")
        np.testing.assert_array_equal(found, [[0, 2, 1]])
    assert discovered(painted, indexed([[0, 1, 2, 3]], BLACK, RED, BLUE, GREEN)).colors == (BLACK, BLUE, GREEN, RED)
    alone = discovered(indexed([[0, 1, 2]], BLACK, RED, BLUE))
    assert alone.values == (0, 1, 2), "without masks in colours, indices are class ids"


def test_palettes_of_other_colours_than_the_masks_in_colours_are_asked_for():
    dark = (128, 0, 0)
    masks = encoded([[BLACK, RED, BLUE]]), indexed([[0, 1, 2]], BLACK, dark, BLUE)
    with pytest.raises(
        UserError, match=r"1 of 2 masks are coded in colours, but .* palette .*\(800000\): mask1\. Save"
    ) as caught:
        discovered(*masks)
    assert caught.value.flags == ("--num_classes=4 --mask_colors=000000,0000ff,800000,ff0000",)
    assert discovered(*masks, num_classes=4, colors=(BLACK, BLUE, dark, RED)).num_classes == 4


@pytest.mark.parametrize("ids", [indexed([[0, 1, 2, 255]]), encoded([[0, 1, 2]])])
def test_class_ids_among_masks_in_colours_are_no_dark_greys(ids):
    painted = encoded([[BLACK, RED, BLUE]])
    for count in (0, 3):
        with pytest.raises(UserError, match=r"1 of 2 masks .* seem to hold class ids: mask1\. Save them"):
            discovered(painted, ids, num_classes=count)
    with pytest.raises(UserError, match="the mask holds 0, 1, 2, which seem to be class ids"):
        MaskRules(colors=(BLACK, RED, BLUE)).translate(histogram.count(ids, name="mask"), name="mask")
    assert discovered(painted, encoded([[0, 0, 255]])).colors[-1] == (255, 255, 255), "greys are colours"


def test_what_is_transparent_is_no_class():
    white = (255, 255, 255)
    drawn = encoded([[(*white, 0), (*RED, 255), (*BLUE, 200)]])
    empty = encoded([[(*white, 0)] * 3])
    for others in ((), (empty,), (empty, encoded([[(*white, 0), (0, 0, 0, 255), (0, 0, 0, 255)]]))):
        assert discovered(drawn, *others).colors == (BLACK, BLUE, RED)
    masks = [histogram.count(data, name="mask") for data in (drawn, empty)]
    line = "66.7% of the pixels of masks are transparent: they count as black, (0, 0, 0)"
    assert infer.explain_transparent(MaskRules(colors=(BLACK, BLUE, RED)), masks) == line
    assert infer.explain_transparent(MaskRules((0, 255)), masks) == "", "values are as they are stored"
    assert discovered(encoded([[(*white, 0), (*RED, 0)]])).colors == (RED, white), "alpha says nothing"
