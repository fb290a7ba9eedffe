"""Checks at the writer: ids, and values that JSON can carry."""

import json
import re
from json.encoder import encode_basestring
from typing import Any

_LONGEST_ID = 255
_CONTROL_CHARACTERS = re.compile('[\x00-\x1f\x7f-\x9f]')

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(',', ':'))


def check_id(progress_id: Any) -> str:
    """Return a progress id.

    :raises TypeError: where it is not a string
    :raises ValueError: where it is empty, longer than 255 characters, or has characters that an id may not have; the
        message is fit for a visitor's eyes
    """
    if not isinstance(progress_id, str):
        raise TypeError(f'progress_id must be a string, not {progress_id!r}')
    if not progress_id:
        raise ValueError('progress_id is empty')
    if len(progress_id) > _LONGEST_ID:
        raise ValueError(
            f'progress_id has {len(progress_id):,} characters, more than the {_LONGEST_ID} that are allowed'
        )
    if not progress_id.isprintable() and _CONTROL_CHARACTERS.search(progress_id):
        raise ValueError('progress_id contains control characters')
    if not progress_id.isascii():
        try:
            progress_id.encode()
        except UnicodeEncodeError:
            raise ValueError('progress_id contains half a character (a lone surrogate)') from None
    return progress_id


def encode(name: str, value: Any) -> str:
    """Return the JSON text of an argument.

    A Pyramid TranslationString becomes the text it stands for, and a lone surrogate U+FFFD, since neither would
    come back from a store.

    :param name: the argument's name, for messages
    :param value: a JSON value; a tuple counts as a list
    :raises TypeError: for anything else
    :raises ValueError: for what JSON has no text for: NaN, infinities, a value that contains itself
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


def encode_number(name: str, value: Any) -> str:
    """Return the JSON text of a position or a length: an int, a float, or None where it is not known.

    :raises TypeError: for anything else
    :raises ValueError: for NaN and infinities
    """
    if type(value) is int and -(2**63) < value < 2**63:
        return str(value)  # the usual case, without the encoder
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise TypeError(f'{name} must be a number or None, not {value!r}')
    return encode(name, value)


def encode_status(value: Any) -> str:
    """Return the JSON text of a status word.

    :raises TypeError: where it is not a string
    :raises ValueError: where it is one of those that are computed for readers
    """
    if not isinstance(value, str):
        raise TypeError(f'status must be a string, not {value!r}')
    if value in ('stalled', 'cancelling'):
        raise ValueError(f'status {value!r} is computed for readers, and never stored')
    return encode('status', value)


def _plain(name: str, value: Any) -> Any:
    """Return a value in which every string is plain, having made sure that JSON keeps what it is."""
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
