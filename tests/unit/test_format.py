"""Numbers, amounts, times and states: the cases in ``tests/cases/format.json``, which the script's tests run, too."""

import json
import math
from pathlib import Path

import pytest
from pyramid.i18n import make_localizer

import pyramid_progress
from pyramid_progress.model.status import bar_state, percentage
from pyramid_progress.web.format import format_count, format_elapsed, format_number, format_percent

CASES = json.loads(Path(__file__).parents[1].joinpath('cases', 'format.json').read_text('utf-8'))
LOCALE = str(Path(pyramid_progress.__file__).parent / 'locale')


def translate_to(language):
    return make_localizer(language.replace('-', '_'), [LOCALE]).translate


@pytest.mark.parametrize(('language', 'value', 'text'), CASES['numbers'])
def test_a_number(language, value, text):
    assert format_number(value, translate_to(language)) == text


@pytest.mark.parametrize(('value', 'text'), [(math.inf, '∞'), (-math.inf, '-∞')])
def test_an_infinite_number(value, text):
    assert format_number(value, translate_to('en')) == text


def test_the_digits_of_a_language():
    # Persian, which has digits of its own
    words = {'number-short': '۱٬۲۳۴', 'number-long': '۱۲٬۳۴۵٫۶'}  # noqa: RUF001
    assert format_number(1234567.8, lambda message: words[message]) == '۱٬۲۳۴٬۵۶۷٫۸'  # noqa: RUF001


@pytest.mark.parametrize(('language', 'percent', 'text'), CASES['percentages'])
def test_a_percentage(language, percent, text):
    assert format_percent(percent, translate_to(language)) == text


@pytest.mark.parametrize(('language', 'current', 'length', 'text'), CASES['counts'])
def test_an_amount(language, current, length, text):
    assert format_count(current, length, translate_to(language)) == text


def test_an_infinite_amount_is_not_shown():
    assert format_count(1, math.inf, translate_to('en')) == ''


@pytest.mark.parametrize(('language', 'seconds', 'text'), CASES['elapsed'])
def test_an_elapsed_time(language, seconds, text):
    assert format_elapsed(seconds, translate_to(language)) == text


@pytest.mark.parametrize(('status', 'state', 'percent'), CASES['states'])
def test_a_state(status, state, percent):
    assert bar_state(status) == state
    assert percentage(status) == percent
