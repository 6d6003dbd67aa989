"""Pictures side by side, and numbers in colour."""

import numpy as np

from fcn_tf.reports import explanation_page, panels


def test_pictures_stand_apart_at_one_height():
    red, blue = (np.full((4, 8, 3), color, np.uint8) for color in ((255, 0, 0), (0, 0, 255)))
    made = panels.grid([[("", red), ("", blue)], [("", red)]], height=20)
    assert made.shape == (2 * (20 + 18 + 6) + 6, 2 * (40 + 6) + 6, 3)
    np.testing.assert_array_equal(made[24:44, 6:46], np.broadcast_to([255, 0, 0], (20, 40, 3)))
    np.testing.assert_array_equal(made[24:44, 52:92], np.broadcast_to([0, 0, 255], (20, 40, 3)))
    assert (made[:, 46:52] == 255).all() and (made[68:, 52:] == 255).all()


def test_a_caption_is_written_above():
    white = np.full((4, 60, 3), 255, np.uint8)
    assert (panels.grid([[("pool5", white)]])[6:24] < 128).any()
    assert (panels.grid([[("", white)]]) == 255).all()


def test_heat_goes_from_blue_to_red_and_keeps_the_photo_visible():
    photo = np.zeros((1, 2, 3), np.uint8)
    cold, hot = panels.heat(photo, np.array([[0.05, 0.95]]))[0].astype(int)
    assert cold[2] > cold[0] and hot[0] > hot[2] and hot.sum() > cold.sum()
    bright = panels.heat(photo + 255, np.array([[0.05, 0.95]]))[0]
    assert (bright > (cold, hot)).any(-1).all()
    assert panels.scale(10, 2).shape == (2, 10, 3)


def test_a_field_beyond_the_photo_is_drawn_on_grey():
    photo = np.zeros((20, 20, 3), np.uint8)
    field = explanation_page.ShownField("x", (-5, 3, 7, 15), (0, 4, 4, 8), 3, np.zeros((20, 20)))
    drawn = explanation_page.draw_field(photo, (2, 6), field)
    assert drawn.shape == (20 + 7 + 2, 20 + 2 + 2, 3)
    line = np.argwhere((drawn == explanation_page.THEORETICAL).all(-1))
    assert (line.min(0) == (2, 5)).all() and (line.max(0) == (14, 17)).all()  # 7 above and 2 before
    assert ((drawn == explanation_page.MEASURED).all(-1)).any()
    far = explanation_page.ShownField("x", (-500, -500, 500, 500), (0, 4, 4, 8), 3, np.zeros((20, 20)))
    assert explanation_page.draw_field(photo, (2, 6), far).shape == (40, 40, 3)
