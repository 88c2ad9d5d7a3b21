"""Colours: contrast by the formula of WCAG 2.2, and what is left of them in grey."""

from autoindex.reports import theme


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(colour: str, paper: str) -> float:
    light, dark = sorted((luminance(colour), luminance(paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_graphics_have_a_contrast_of_three_to_one() -> None:
    drawn = (theme.ACCENT, theme.BENCHMARK, theme.LOSS, theme.MUTED, *theme.shades(11))
    for colour in drawn:
        assert contrast(colour, theme.WHITE) >= 3, colour
    # Lines also cross the shade of a back-test.
    for colour in (theme.ACCENT, theme.BENCHMARK, theme.MUTED):
        assert contrast(colour, theme.SHADE) >= 3, colour


def test_text_has_a_contrast_of_four_and_a_half_to_one() -> None:
    for colour in (theme.INK, theme.MUTED, theme.ACCENT):
        assert contrast(colour, theme.WHITE) >= 4.5


def test_in_grey_a_loss_is_no_paler_than_a_gain() -> None:
    for strength in (0.06, 0.3, 0.56, 1.0):
        gain, loss = theme.blend(theme.ACCENT, strength), theme.blend(theme.LOSS, strength)
        assert luminance(loss) <= luminance(gain) + 0.01
