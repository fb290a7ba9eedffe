"""Validation of arguments: progress ids, and values that JSON can represent."""

import json
import re
from decimal import Decimal
from json.encoder import encode_basestring
from math import isfinite
from numbers import Integral, Real
from operator import index
from typing import Any

_MAX_ID_LENGTH = 255
_CONTROL_CHARACTERS = re.compile('[\x00-\x1f\x7f-\x9f]')

#: Python writes an int below this as text, whatever :func:`sys.set_int_max_str_digits` was given.
_ALWAYS_WRITABLE = 2**63

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(',', ':'))


def check_id(progress_id: Any) -> str:
    """Return a valid progress id unchanged.

    :raises TypeError: if it is not a string
    :raises ValueError: if it is empty, longer than 255 characters, or contains control characters or lone surrogates;
        the message can be shown to visitors
    """
    if not isinstance(progress_id, str):
        raise TypeError(f'progress_id must be a string, not {progress_id!r}')
    if not progress_id:
        raise ValueError('progress_id is empty')
    if len(progress_id) > _MAX_ID_LENGTH:
        raise ValueError(
            f'progress_id has {len(progress_id):,} characters, more than the {_MAX_ID_LENGTH} that are allowed'
        )
    if not progress_id.isprintable() and _CONTROL_CHARACTERS.search(progress_id):
        raise ValueError('progress_id contains control characters')
    if not progress_id.isascii():
        try:
            progress_id.encode()
        except UnicodeEncodeError:
            raise ValueError('progress_id contains a lone surrogate') from None
    return progress_id


def encode(name: str, value: Any) -> str:
    """Return the JSON text of an argument.

    A Pyramid TranslationString is interpolated, and a lone surrogate is replaced by U+FFFD: a store would return
    neither unchanged.

    :param name: the argument's name, for error messages
    :param value: a JSON value; a tuple counts as a list
    :raises TypeError: if it is anything else
    :raises ValueError: if JSON cannot represent it: NaN, infinities, a value that contains itself
    """
    if value is None:
        return 'null'
    if type(value) is str:  # the usual case, without the encoder
        text = encode_basestring(value)
    else:
        try:
            text = _encoder.encode(_plain(name, value))
        except (ValueError, RecursionError) as error:
            raise ValueError(f'{name} cannot be written as JSON: {error}') from error
    if text.isascii():
        return text
    return text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')


def to_number(name: str, value: Any) -> float:
    """Return an amount of work as an int or a float.

    :param name: the argument's name, for error messages
    :param value: an int of any size that Python writes as text (:func:`sys.set_int_max_str_digits`), a float, a
        :class:`decimal.Decimal`, or any other :class:`numbers.Real`, such as numpy's numbers and fractions
    :return: an int for a :class:`numbers.Integral`, otherwise a float
    :raises TypeError: if it is anything else, such as a bool
    :raises ValueError: if it is NaN, infinite, or too large
    """
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
        raise TypeError(f'{name} must be a number, not {value!r}')
    try:
        if isinstance(value, Integral):
            number = index(value)  # numpy's timedelta64 is an Integral that has none
            if not -_ALWAYS_WRITABLE < number < _ALWAYS_WRITABLE:
                str(number)
            return number
        as_float = float(value)
    except TypeError as error:
        raise TypeError(f'{name} must be a number, not {value!r}: {error}') from error
    except (ValueError, OverflowError) as error:
        raise ValueError(f'{name} must be a finite number of a size that can be stored: {error}') from error
    if not isfinite(as_float):
        raise ValueError(f'{name} must be a finite number, not {value!r}')
    return as_float


def encode_number(name: str, value: Any) -> str:
    """Return the JSON text of an amount of work: a number as :func:`to_number` takes it, or None if it is not known.

    :raises TypeError, ValueError: as :func:`to_number` does
    """
    if type(value) is int and -_ALWAYS_WRITABLE < value < _ALWAYS_WRITABLE:
        return str(value)  # the usual case
    return 'null' if value is None else repr(to_number(name, value))


def encode_status(value: Any) -> str:
    """Return the JSON text of a status word.

    :raises TypeError: if it is not a string
    :raises ValueError: if it is one of those that are computed for readers
    """
    if not isinstance(value, str):
        raise TypeError(f'status must be a string, not {value!r}')
    if value in ('stalled', 'cancelling'):
        raise ValueError(f'status {value!r} is computed for readers and cannot be set')
    return encode('status', value)


def _plain(name: str, value: Any) -> Any:
    """Return a JSON value with every TranslationString interpolated.

    :raises TypeError: if JSON would not return the same value
    """
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return value.interpolate() if hasattr(value, 'interpolate') else value
    if isinstance(value, (list, tuple)):
        return [_plain(name, item) for item in value]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f'{name} has a key that is not a string: {key!r}')
        return {key: _plain(name, item) for key, item in value.items()}
    raise TypeError(f'{name} must be a JSON value, not {value!r}')
