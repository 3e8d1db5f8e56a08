"""Colours of the reports, one place for paper, page and workbook.

Categorical colours are those of Okabe and Ito (2008), told apart by readers with any of the common colour deficiencies and
ordered so that neighbours differ in lightness too. Amounts use one hue from light to dark, which survives a grey printer.
"""

INK = "#16202c"
MUTED = "#5b6875"
HAIRLINE = "#d5dbe1"
PAPER = "#ffffff"
SHADE = "#f3f6f9"
NIGHT = "#0d1b2a"

BLUE = "#0072b2"
ORANGE = "#d55e00"
GREEN = "#009e73"
SKY = "#56b4e9"
AMBER = "#e69f00"
PINK = "#cc79a7"
GREY = "#8b97a3"

LEDGER = {
    "analysed": BLUE,
    "reused": SKY,
    "unchanged": GREEN,
    "failed": ORANGE,
    "skipped": GREY,
}
#: One after the other, for groups.
GROUPS = (BLUE, ORANGE, GREEN, PINK, AMBER, SKY)
#: Light to dark, for amounts.
RAMP_LIGHT = "#e3edf6"
RAMP_DARK = "#08406e"


def mix(first: str, second: str, share: float) -> str:
    """Return the colour `share` (0 to 1) of the way from `first` to `second`."""
    share = min(max(share, 0.0), 1.0)
    parts = [
        round(int(first[index : index + 2], 16) * (1 - share) + int(second[index : index + 2], 16) * share) for index in (1, 3, 5)
    ]
    return "#{:02x}{:02x}{:02x}".format(*parts)


def ramp(share: float) -> str:
    """Return the colour for an amount, 0 to 1 of the largest."""
    return mix(RAMP_LIGHT, RAMP_DARK, share)
