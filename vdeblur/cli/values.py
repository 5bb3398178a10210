"""Single values of the command line: from a word to what it means, or one line that says what to write."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path


def given(text: str) -> str:
    """Not empty: that would be the current folder, and is a variable of a script that was not set."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; name a file or a folder")
    return text


def given_path(text: str) -> Path:
    return Path(given(text))


def fraction(text: str) -> Fraction:
    """`25`, `0.04` or `30000/1001`."""
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number: give it as 25, 0.04 or 30000/1001"
        ) from None


def seconds(text: str) -> Fraction:
    """`12.5`, `1:30`, `0:01:30.25` -> exact seconds."""
    try:
        total = Fraction(0)
        for part in text.split(":"):
            total = total * 60 + Fraction(part)
        if total < 0 or text.count(":") > 2:
            raise ValueError
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give seconds or h:m:s") from None
    return total


def size(text: str) -> tuple[int, int]:
    """`640x360` -> (height, width)."""
    width, cross, height = text.partition("x")
    if not (cross and width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: give WIDTHxHEIGHT")
    return int(height), int(width)


def amount(text: str) -> int:
    """`8G`, `1.5G`, `900M` -> bytes (powers of 1024)."""
    factors = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
    number = text.upper().removesuffix("IB").removesuffix("B")
    try:
        found = int(float(number.rstrip("KMGT")) * factors.get(number[-1:], 1))
        if found <= 0 or len(number) - len(number.rstrip("KMGT")) > 1:
            raise ValueError
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of memory: give it as 8G or 900M") from None
    return found


def pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r}: give KEY=VALUE")
    return key, value


def least_sharpness(text: str) -> float:
    """`off` is 0, `auto` 1."""
    if text in ("auto", "off"):
        return 1.0 if text == "auto" else 0.0
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 100.0:
        raise argparse.ArgumentTypeError(f"{text!r}: give auto, off or a number above 0")
    return value
