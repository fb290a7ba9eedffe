"""All that the widget says to visitors: messages of the domain ``pyramid_progress``, with catalogues in ``locale/``.

An application adds a language with a catalogue of its own for this domain; where it says things in other words, it
registers that with ``config.add_translation_dirs('myapp:locale', override=True)``.
"""

from typing import Any

from pyramid.i18n import TranslationStringFactory, make_localizer
from pyramid.interfaces import ITranslationDirectories

_ = TranslationStringFactory('pyramid_progress')

#: What a page says to its bars, by state of a bar, and a few more. The script has no words of its own.
PAGE = {
    'waiting': _('waiting', default='Waiting to start'),
    'running': _('running', default='Running'),
    'indeterminate': _('indeterminate', default='Running, length unknown'),
    'stalled': _('stalled', default='Stalled: no sign of life'),
    'cancelling': _('cancelling', default='Cancelling'),
    'finished': _('finished', default='Finished'),
    'failed': _('failed', default='Failed'),
    'cancelled': _('cancelled', default='Cancelled'),
    'lost': _('lost', default='Lost: the server no longer knows this task'),
    'unknown': _('unknown', default='Nothing is known of this task'),
    'trouble': _('trouble', default='Connection trouble, trying again'),
    'signed-out': _('signed-out', default='Signed out: sign in, then reload this page'),
    'forbidden': _('forbidden', default='You are not allowed to see this task'),
    'progress': _('progress', default='Progress'),
    'result': _('result', default='Result'),
    # The script puts what it reckons in the place of {}.
    'left': _('left', default='About ${time} left', mapping={'time': '{}'}),
    'rate': _('rate', default='${count} per second', mapping={'count': '{}'}),
}

PERCENT = _('percent', default='${percent}%')
CANCEL = _('cancel', default='Cancel')
REFRESH = _('refresh', default='Refresh')

TASKS_TITLE = _('tasks-title', default='Tasks')

#: The words around a list of tasks.
TASKS = {
    'any': _('tasks-any', default='Any'),
    'filter': _('tasks-filter', default='Show'),
    'newer': _('tasks-newer', default='Newer tasks'),
    'none': _('tasks-none', default='There are no tasks.'),
    'older': _('tasks-older', default='Older tasks'),
    'status': _('tasks-status', default='Status'),
    'tag': _('tasks-tag', default='Tag'),
    'trouble': PAGE['trouble'],
}

#: What a visitor is told of an error that is not for his eyes.
UNEXPECTED = _('unexpected', default='An unexpected error ended this task.')
INTERRUPTED = _('interrupted', default='This task was interrupted.')

#: Those among the messages of tasks that are ours, by the text that is stored.
MESSAGES = {message.interpolate(): message for message in (UNEXPECTED, INTERRUPTED)}


def localizer_of(request: Any) -> Any:
    """Return the localizer of a request; that of the default locale where the request names none that can be one.

    Pyramid's locale negotiator looks into the query string, and raises where that is not UTF-8; a localizer looks for
    files of the locale's name.
    """
    try:
        return request.localizer
    except ValueError:
        directories = request.registry.queryUtility(ITranslationDirectories, default=[])
        return make_localizer(request.registry.settings['pyramid.default_locale_name'], directories)
