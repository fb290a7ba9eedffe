"""Which progress ids are valid, and the JSON text of values."""

import json
import time
from decimal import Decimal
from fractions import Fraction
from http import HTTPStatus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyramid.i18n import TranslationStringFactory

from pyramid_progress.model.record import dump, load
from pyramid_progress.model.status import record_to_status
from pyramid_progress.model.values import check_id, encode, encode_number, encode_status, to_number

_ = TranslationStringFactory('pyramid_progress')

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=['Cs'])), inner),
    max_leaves=10,
)


def without_surrogates(value):
    """Return a value with U+FFFD for every lone surrogate, by means of Python's codecs."""
    if isinstance(value, str):
        # Two halves that stand together are a character.
        return value.encode('utf-16-le', 'surrogatepass').decode('utf-16-le', 'replace')
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {key: without_surrogates(item) for key, item in value.items()}
    return value


@settings(max_examples=60, deadline=None)
@given(values)
def test_a_value_comes_back_as_it_was(value):
    text = encode('message', value)
    assert '\n' not in text
    text.encode()
    assert repr(json.loads(text)) == repr(without_surrogates(value))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(['status', 'message', 'tags', 'length', '_acknowledged']), values, min_size=1))
def test_a_record_comes_back_as_it_was(status):
    record = {name: encode(name, value) for name, value in status.items()}
    assert load(dump(record)) == record
    json.loads(dump(record))
    seen = {name: value for name, value in status.items() if name != '_acknowledged'}
    assert repr(record_to_status(record, time.time)) == repr(without_surrogates(seen))


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        ((), '[]'),
        ((1, (2,)), '[1,[2]]'),
        ('a\nb', '"a\\nb"'),
        ('\ud800', '"\ufffd"'),
        ('\ud800\ud800', '"\ufffd\ufffd"'),
        ('\ud83d\ude00', '"😀"'),
        ('\ufeffé\ud800', '"\ufeffé\ufffd"'),
        (_('key', default='${count} rows', mapping={'count': 3}), '"3 rows"'),
        (_('key'), '"key"'),
        ({'of': _('key', default='text')}, '{"of":"text"}'),
    ],
)
def test_values_of_another_form(value, text):
    assert encode('message', value) == text


def deep(levels):
    value = []
    for _level in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize('name', ['owner', 'label', 'tags', 'message'])
@pytest.mark.parametrize(
    ('value', 'error'),
    [
        (float('nan'), ValueError),
        ({'a': [float('inf')]}, ValueError),
        (deep(100_000), ValueError),
        ({1}, TypeError),
        (b'bytes', TypeError),
        (object(), TypeError),
        ([lambda: None], TypeError),
        ({1: 'one'}, TypeError),
        ({('a',): 'one'}, TypeError),
    ],
)
def test_what_json_cannot_represent_is_refused_and_named(name, value, error):
    with pytest.raises(error, match=f'^{name} '):
        encode(name, value)


def test_a_value_that_contains_itself_is_refused():
    value = {}
    value['self'] = [value]
    with pytest.raises(ValueError, match=r'^tags '):
        encode('tags', value)


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (0, '0'),
        (-1, '-1'),
        (1.0, '1.0'),
        (2**63 - 1, str(2**63 - 1)),
        (2**64, str(2**64)),
        (10**400, f'1{"0" * 400}'),
        (-(10**400), f'-1{"0" * 400}'),
        (1e-300, '1e-300'),
        (5e300, '5e+300'),
        (Fraction(1, 4), '0.25'),
        (Fraction(8, 2), '4.0'),
        (Decimal('0.1'), '0.1'),
        (HTTPStatus.OK, '200'),
        (None, 'null'),
    ],
)
def test_numbers(value, text):
    assert encode_number('current', value) == text


@settings(max_examples=100, deadline=None)
@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_ints_and_floats_stay_as_they_are(value):
    assert repr(json.loads(encode_number('current', value))) == repr(value) == repr(to_number('current', value))


@pytest.mark.parametrize('value', [True, False, '1', b'1', [1], {}, 1j, object()])
def test_what_is_no_number_is_refused(value):
    for function in (encode_number, to_number):
        with pytest.raises(TypeError, match=r'^current must be a number, not '):
            function('current', value)


def test_a_number_is_not_none():
    with pytest.raises(TypeError, match=r'^current must be a number, not None$'):
        to_number('current', None)


@pytest.mark.parametrize(
    'value',
    [float('nan'), float('inf'), -float('inf'), Decimal('NaN'), Decimal('sNaN'), Decimal('1e999'), 10**5000],
    ids=['nan', 'inf', '-inf', 'Decimal nan', 'Decimal snan', 'Decimal', 'int'],  # the text of the int is refused
)
def test_a_number_that_is_not_finite_or_too_large_is_refused(value):
    for function in (encode_number, to_number):
        with pytest.raises(ValueError, match=r'^length must be a finite number'):
            function('length', value)


@pytest.mark.parametrize('value', [None, 1, b'running', ['running'], True])
def test_a_status_is_a_word(value):
    with pytest.raises(TypeError, match=r'^status must be a string'):
        encode_status(value)


@pytest.mark.parametrize(
    'progress_id', ['a', 'x' * 255, '進' * 255, ' ', '../../x', 'é', '\u2028', '<img src=x>', '%00']
)
def test_ids(progress_id):
    assert check_id(progress_id) == progress_id


@pytest.mark.parametrize(
    ('progress_id', 'sentence'),
    [
        ('', 'progress_id is empty'),
        ('x' * 256, 'progress_id has 256 characters, more than the 255 that are allowed'),
        ('x' * 10_000, 'progress_id has 10,000 characters'),
        ('a\nb', 'progress_id contains control characters'),
        ('\0', 'progress_id contains control characters'),
        ('a\x7f', 'progress_id contains control characters'),
        ('\x9f', 'progress_id contains control characters'),
        ('a\ud800', 'progress_id contains a lone surrogate'),
    ],
)
def test_an_invalid_id_is_refused_with_the_reason(progress_id, sentence):
    with pytest.raises(ValueError, match=f'^{sentence}'):
        check_id(progress_id)


@pytest.mark.parametrize('progress_id', [None, 1, b'a', ['a']])
def test_an_id_is_a_string(progress_id):
    with pytest.raises(TypeError, match=r'^progress_id must be a string'):
        check_id(progress_id)
