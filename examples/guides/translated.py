"""A label and messages in the language of the visitor, and the words of the bars in further languages."""

from pathlib import Path

from pyramid.i18n import TranslationStringFactory

import pyramid_progress

_ = TranslationStringFactory('shop')

LOCALE = Path(__file__).parent / 'locale'
LANGUAGES = ['en', 'de', 'nl']


def includeme(config):
    """Add the catalogues of the application. Their words take precedence over those of pyramid_progress."""
    config.add_translation_dirs(str(LOCALE), override=True)
    config.set_locale_negotiator(negotiate)


def negotiate(request):
    """Return the locale of a request: the language of the browser, if the application has it."""
    return request.accept_language.lookup(LANGUAGES, default='en')


def export_view(request):
    """Submit the work, with a label in the language of the request."""
    label = request.localizer.translate(_('export', default='Exporting customers'))
    return {'progress_id': request.progress.submit(export, label=label)}


def export(task):
    """The work. It has the locale of the request that submitted it."""
    with pyramid_progress.new_request() as request:
        task.finish(request.localizer.translate(_('done', default='All customers are exported')))
