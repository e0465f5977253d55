"""A precise sentence about a mask: which defects, how many, how large, where and which way they run.

Every word follows from the pixels by the rules stated at the constants, so equal masks get equal captions.
"""

import math
from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np

from flywheel.data.axes import main_axis
from flywheel.data.classes import BACKGROUND, IGNORE, ClassTable
from flywheel.errors import ConfigError

LANGUAGES = ("en", "zh")
JOIN_GAP = 0.02  # of the shorter side: parts of a class nearer than this look like one defect
TINY = 1e-4  # of the image: a smaller region is called tiny ...
SPECK_PIXELS = 25  # ... and when it has fewer px than this as well, it is a speck, which is not counted;
SPECK_OF_LARGEST = 0.02  # so is a region below this share of its class's largest one
ELONGATED = 3.0  # ratio of the axes from which a region has a direction
SPANS = 2 / 3  # of the image's height or width: a region this long goes "across"
MOST = 0.5  # of the image: a region this large is "over most of the image"
NAMED_PLACES = 3  # more places than this are "scattered over the image"


@dataclass(frozen=True)
class Region:
    """One defect as a person would count it. pixels: area in px; place: a key of PLACES; direction: of DIRECTIONS."""

    pixels: int
    place: str
    direction: str
    spans: bool


# Key: row word and column word of a 3x3 grid, or how a long region lies.
PLACES = {
    "upper left": ("near the upper left edge", "左上边缘附近"),
    "upper centre": ("near the upper edge", "上边缘附近"),
    "upper right": ("near the upper right edge", "右上边缘附近"),
    "middle left": ("near the left edge", "左边缘附近"),
    "middle centre": ("in the centre", "中央"),
    "middle right": ("near the right edge", "右边缘附近"),
    "lower left": ("near the lower left edge", "左下边缘附近"),
    "lower centre": ("near the lower edge", "下边缘附近"),
    "lower right": ("near the lower right edge", "右下边缘附近"),
    "spans left": ("along the left edge", "沿左边缘延伸"),
    "spans right": ("along the right edge", "沿右边缘延伸"),
    "spans upper": ("along the upper edge", "沿上边缘延伸"),
    "spans lower": ("along the lower edge", "沿下边缘延伸"),
    "spans centre": ("across the centre", "贯穿中央"),
    "spans image": ("across the whole image", "贯穿整幅图像"),
    "most": ("over most of the image", "覆盖图像的大部分"),
}
DIRECTIONS = {
    "": ("", ""),
    "horizontal": ("horizontal ", "横向"),
    "vertical": ("vertical ", "纵向"),
    "diagonal": ("diagonal ", "斜向"),
}

# Class name -> Chinese name and its measure word. Knitting- and weaving-mill words first, then public data sets.
CHINESE = {
    "broken yarn": ("断纱", "根"),
    "stain": ("污渍", "处"),
    "shade variation": ("色差", "处"),
    "hole": ("破洞", "个"),
    "knot": ("结头", "个"),
    "misweave": ("错纹", "处"),
    "broken end": ("断经", "根"),
    "broken pick": ("断纬", "根"),
    "weft curling": ("纬纱卷曲", "处"),
    "fuzzyball": ("毛球", "个"),
    "cut selvage": ("布边破损", "处"),
    "crease": ("折痕", "条"),
    "warp ball": ("经纱毛球", "个"),
    "contamination": ("杂质", "处"),
    "nep": ("棉结", "个"),
    "weft crack": ("纬向裂缝", "条"),
    "inclusion": ("夹杂", "处"),
    "patch": ("斑块", "块"),
    "scratch": ("划痕", "条"),
    "blowhole": ("气孔", "个"),
    "break": ("断裂", "处"),
    "crack": ("裂纹", "条"),
    "fray": ("毛边", "处"),
    "uneven": ("不平整", "处"),
}
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS_ZH = ("零", "一", "两", "三", "四", "五", "六", "七", "八", "九", "十")
_SINGULAR_IN_S = ("lens", "gas", "bias", "canvas", "ss", "us", "is")  # endings that are no plural
_ADJECTIVES = ("uneven", "rough", "bent", "broken", "loose", "missing", "faulty", "ed")  # such names get " area"


def caption(
    mask: np.ndarray, classes: ClassTable, *, language: str = "en", chinese_names: dict[str, str] | None = None
) -> str:
    """One sentence about `mask`, largest class first.

    mask: (H, W) uint8 class indices; 255 (ignore) is not spoken of. chinese_names: class name -> Chinese name, before
    the built-in ones; an unknown name stays as it is.
    Raises ConfigError for a language other than en and zh, DataInvalid for an index that the table does not have.
    """
    if language not in LANGUAGES:
        raise ConfigError(f"caption language {language!r}, expected one of {', '.join(LANGUAGES)}")
    counts = np.bincount(mask.ravel(), minlength=256)
    found = [index for index in np.flatnonzero(counts).tolist() if index not in (BACKGROUND, IGNORE)]
    found.sort(key=lambda index: (-counts[index], index))
    if language == "zh":
        own = {_plain(name): word for name, word in (chinese_names or {}).items()}
        clauses = [_chinese(classes.name(index), own, regions(mask == index), mask.size) for index in found]
        return "；".join(clauses) + "。" if clauses else "未见缺陷。"
    text = "; ".join(_english(classes.name(index), regions(mask == index), mask.size) for index in found)
    return text[:1].upper() + text[1:] + "." if text else "No visible defect."


def regions(inside: np.ndarray) -> list[Region]:
    """The separate defects of one class, largest first.

    inside: (H, W) bool. Parts nearer than JOIN_GAP are one region; specks are left out unless there is nothing else.
    """
    height, width = inside.shape
    reach = max(1.0, JOIN_GAP * min(height, width) / 2)
    near = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= reach
    _, labels = cv2.connectedComponents(near.astype(np.uint8), connectivity=8)
    rows, columns = np.nonzero(inside)
    owner = labels[rows, columns]
    by_owner = np.argsort(owner, kind="stable")
    parts = np.split(by_owner, np.flatnonzero(np.diff(owner[by_owner])) + 1) if owner.size else []
    parts.sort(key=len, reverse=True)
    smallest = max(min(TINY * inside.size, SPECK_PIXELS), SPECK_OF_LARGEST * max(map(len, parts), default=0))
    counted = [part for part in parts if len(part) >= smallest] or parts
    return [_region(rows[part], columns[part], height, width) for part in counted]


def _region(rows: np.ndarray, columns: np.ndarray, height: int, width: int) -> Region:
    direction = _direction(rows, columns)
    tall = (np.ptp(rows) + 1) / height >= SPANS
    wide = (np.ptp(columns) + 1) / width >= SPANS
    row = ("upper", "middle", "lower")[min(2, int(3 * (rows.mean() + 0.5) / height))]
    column = ("left", "centre", "right")[min(2, int(3 * (columns.mean() + 0.5) / width))]
    if rows.size / (height * width) >= MOST:
        place = "most"
    elif tall and wide:
        place = "spans image"
    elif tall:
        place = f"spans {column}"
    elif wide:
        place = f"spans {'centre' if row == 'middle' else row}"
    else:
        place = f"{row} {column}"
    return Region(rows.size, place, direction, spans=place.startswith("spans"))


def _direction(rows: np.ndarray, columns: np.ndarray) -> str:
    """Word for the long axis; empty when nearly as wide as long."""
    ratio, radians = main_axis(rows, columns)
    if ratio < ELONGATED:
        return ""
    angle = abs(math.degrees(radians))  # 0 horizontal .. 90 vertical
    return "horizontal" if angle < 22.5 else "vertical" if angle > 67.5 else "diagonal"


def _shared(values: list[str]) -> str:
    """The word that all regions have in common, or none."""
    return values[0] if len(set(values)) == 1 else ""


def percent(share: float) -> str:
    """A share as text with two significant digits: 0.018 -> "1.8 %"."""
    if share < 1e-4:
        return "less than 0.01 %"
    value = 100 * share
    return f"{value:.0f} %" if value >= 9.95 else f"{value:.1f} %" if value >= 0.995 else f"{value:.2g} %"


def _english(name: str, found: list[Region], size: int) -> str:
    tiny = "tiny " if found[0].pixels < TINY * size else ""
    kind = DIRECTIONS[_shared([region.direction for region in found])][0]
    share = percent(found[0].pixels / size)
    places = Counter(region.place for region in found)
    if len(found) == 1:
        phrase = tiny + kind + noun(name)
        text = f"{_article(phrase)} {phrase} {PLACES[found[0].place][0]}"
        return text if found[0].spans else f"{text}, covering {share} of the image"
    text = f"{_count(len(found))} {tiny}{kind}{noun(name, plural=True)}"
    if len(places) == 1:
        text += f" {PLACES[found[0].place][0]}"
    elif len(places) <= NAMED_PLACES:
        text += ": " + ", ".join(f"{_count(count)} {PLACES[place][0]}" for place, count in places.items())
    else:
        text += " scattered over the image"
    return f"{text}, the {'larger' if len(found) == 2 else 'largest'} covering {share} of the image"


def _chinese(name: str, own: dict[str, str], found: list[Region], size: int) -> str:
    plain = _plain(name)
    known, measure = _known_chinese(name)
    tiny = "微小" if found[0].pixels < TINY * size else ""
    kind = DIRECTIONS[_shared([region.direction for region in found])][1]
    things = _count_zh(len(found)) + measure + tiny + kind + own.get(plain, known)
    share = percent(found[0].pixels / size).replace("less than ", "不足 ")
    share = share if share.startswith("不足") else f"的 {share}"
    places = Counter(region.place for region in found)
    place = PLACES[found[0].place][1]
    long = found[0].spans or found[0].place == "most"
    if len(found) == 1 and found[0].spans:
        return things + place
    if len(places) == 1:
        text = things + ("均" if len(found) > 1 else "") + place if long else f"{place}有{things}"
    elif len(places) <= NAMED_PLACES:
        parts = [f"{PLACES[place][1]}{_count_zh(count)}{measure}" for place, count in places.items()]
        text = f"共有{things}（{'、'.join(parts)}）"
    else:
        text = f"图像中散布着{things}"
    which = "" if len(found) == 1 else f"{'较' if len(found) == 2 else '最'}大的一{measure}"
    return f"{text}，{which}占图像面积{share}"


def chinese_name(name: str) -> str:
    """The built-in Chinese name of a class; a class without one keeps its own name."""
    return _known_chinese(name)[0]


def _known_chinese(name: str) -> tuple[str, str]:
    """Chinese name and measure word."""
    plain = _plain(name)
    return CHINESE.get(plain, CHINESE.get(_singular(plain), (name.replace("_", " "), "处")))


def _plain(name: str) -> str:
    """Words of a class name in lower case; abbreviations stay."""
    words = name.replace("_", " ").replace("-", " ").split()
    return " ".join(word if len(word) > 1 and word.isupper() else word.lower() for word in words)


def _singular(plain: str) -> str:
    if not plain.endswith("s") or plain.endswith(_SINGULAR_IN_S):
        return plain
    if plain.endswith(("ches", "shes", "sses", "xes", "zes")):
        return plain[:-2]
    return plain[:-3] + "y" if plain.endswith("ies") else plain[:-1]


def noun(name: str, *, plural: bool = False) -> str:
    """A class name as an English noun: "broken_yarn" -> "broken yarn" or "broken yarns", "Patches" -> "patch"."""
    word = _singular(_plain(name))
    if word.endswith(_ADJECTIVES):
        word += " area"
    elif not (word[-1:].isascii() and word[-1:].isalpha()):
        word += " defect"  # "class 1" has no plural of its own
    if not plural:
        return word
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")


def _article(phrase: str) -> str:
    return "an" if phrase[0].lower() in "aeiou" and not phrase.lower().startswith(("uni", "use", "eu", "one")) else "a"


def _count(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def _count_zh(count: int) -> str:
    return _NUMBERS_ZH[count] if count < len(_NUMBERS_ZH) else f" {count} "
