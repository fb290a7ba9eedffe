"""Numbers, amounts and times in the language of a request. ``static/format.js`` writes the same."""

import math
import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from ..model.messages import BAR, NUMBERS, PERCENT

#: Returns a message in the language of a request.
Translate = Callable[[Any], str]

_DIGITS = '0123456789'
_THOUSANDTH = Decimal('0.001')

#: Units of time, longest first, each with the seconds that it has.
_UNITS = {'days': 86400, 'hours': 3600, 'minutes': 60, 'seconds': 1}


def format_number(value: float, translate: Translate) -> str:
    """Return a number with at most three decimals, as ``Intl.NumberFormat`` writes it.

    :param value: the number
    :param translate: translates a message, here the examples :data:`.messages.NUMBERS` of how numbers are written
    """
    if not math.isfinite(value):
        return '∞' if value > 0 else '-∞'
    number = Decimal(repr(float(value)))  # a browser reads a JSON number as a float
    if abs(number) < 2**53:
        number = number.quantize(_THOUSANDTH, ROUND_HALF_UP)
    short, long = translate(NUMBERS['short']), translate(NUMBERS['long'])
    whole, _, decimals = f'{number:f}'.partition('.')
    if len(whole.lstrip('-')) > (4 if len(short) == 4 else 3):
        whole = re.sub(r'(?<=\d)(?=(\d{3})+$)', ',', whole)
    text = f'{whole}.{decimals}'.rstrip('0').rstrip('.') if decimals else whole
    zero, group, point = ord(long[0]) - 1, long[2], long[-2]
    symbols = {',': group, '.': point} | {digit: chr(zero + n) for n, digit in enumerate(_DIGITS)}
    return ''.join(symbols.get(character, character) for character in text)


def format_percent(percent: float, translate: Translate) -> str:
    """Return a percentage, rounded down to a whole number.

    :param percent: from 0 to 100
    :param translate: translates a message
    """
    return translate(PERCENT % {'percent': format_number(math.floor(percent), translate)})


def format_count(current: float, length: float, translate: Translate) -> str:
    """Return the completed amount of a task beside its total, or '' if a percentage shows the same.

    :param current: the completed amount
    :param length: the total amount
    :param translate: translates a message
    """
    if length < 2 or length == 100 or current % 1 or length % 1:
        return ''
    done = min(max(current, 0), length)
    numbers = {'current': format_number(done, translate), 'length': format_number(length, translate)}
    return translate(BAR['count'] % numbers)


def format_elapsed(seconds: float, translate: Translate) -> str:
    """Return a time in its two longest units, rounded down.

    :param seconds: the time, at least 0
    :param translate: translates a message
    """
    name = next((name for name, size in _UNITS.items() if seconds >= size), 'seconds')
    rest = int(seconds)
    numbers = {}
    for unit, size in _UNITS.items():
        amount, rest = divmod(rest, size)
        numbers[unit] = format_number(amount, translate)
    return translate(BAR[name] % numbers)
