"""The words that visitors see: messages of the gettext domain ``pyramid_progress``, with catalogues in ``locale/``.

An application adds a language with a catalogue of its own for this domain. To replace words, it registers that
catalogue with ``config.add_translation_dirs('myapp:locale', override=True)``.
"""

from translationstring import TranslationStringFactory

from .record import MESSAGE_CODE, Record
from .values import encode

_ = TranslationStringFactory('pyramid_progress')

#: The words of the bars on a page, by state of a bar, and a few more. The script contains no words.
BAR = {
    'waiting': _('waiting', default='Waiting to start'),
    'running': _('running', default='Running'),
    'indeterminate': _('indeterminate', default='Running, length unknown'),
    'stalled': _('stalled', default='Stalled: no longer responding'),
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
    # The script replaces what is in braces.
    'left': _('left', default='About ${time} left', mapping={'time': '{time}'}),
    'rate': _('rate', default='${count} per second', mapping={'count': '{count}'}),
    # The time left, and the rate.
    'pace': _('pace', default='${left}, ${rate}', mapping={'left': '{left}', 'rate': '{rate}'}),
    'count': _('count', default='${current} of ${length}', mapping={'current': '{current}', 'length': '{length}'}),
    # The time since the start, in abbreviated units.
    'days': _('days', default='${days} d ${hours} h', mapping={'days': '{days}', 'hours': '{hours}'}),
    'hours': _('hours', default='${hours} h ${minutes} min', mapping={'hours': '{hours}', 'minutes': '{minutes}'}),
    'minutes': _(
        'minutes', default='${minutes} min ${seconds} s', mapping={'minutes': '{minutes}', 'seconds': '{seconds}'}
    ),
    'seconds': _('seconds', default='${seconds} s', mapping={'seconds': '{seconds}'}),
}

PERCENT = _('percent', default='${percent}%')

#: How numbers are written.
NUMBERS = {
    # The number 1234, as the language writes it: some languages separate groups in longer numbers only.
    'short': _('number-short', default='1,234'),
    # The number 12345.6, as the language writes it.
    'long': _('number-long', default='12,345.6'),
}

PARTS = _('parts', default='${ended} of ${total} parts', mapping={'ended': '{ended}', 'total': '{total}'})

CANCEL = _('cancel', default='Cancel')
REFRESH = _('refresh', default='Refresh')

# The direction of the language's script: ltr or rtl.
DIRECTION = _('direction', default='ltr')

TASKS_TITLE = _('tasks-title', default='Tasks')

#: The words around a task list.
TASKS = {
    'all': _('tasks-all', default='All'),
    'duration': _('tasks-duration', default='Duration'),
    'filter': _('tasks-filter', default='Filter'),
    'newest': _('tasks-newest', default='Newest tasks'),
    'none': _('tasks-none', default='There are no tasks.'),
    'none-here': _('tasks-none-here', default='There are no tasks on this page.'),
    'older': _('tasks-older', default='Older tasks'),
    'owner': _('tasks-owner', default='Owner'),
    # A status to filter by. The words of a bar are longer.
    'pending': _('tasks-pending', default='Waiting'),
    'remove': _('tasks-remove', default='Remove'),
    'stalled': _('tasks-stalled', default='Stalled'),
    'started': _('tasks-started', default='Started'),
    'status': _('tasks-status', default='Status'),
    'tag': _('tasks-tag', default='Tag'),
    'tags': _('tasks-tags', default='Tags'),
    'trouble': _('tasks-trouble', default='The tasks cannot be read at the moment.'),
}

#: The messages that the add-on itself gives to tasks, by the code that is stored with them.
MESSAGES = {
    'unexpected': _('unexpected', default='An unexpected error ended this task.'),
    'interrupted': _('interrupted', default='This task was interrupted.'),
    'retry': _('retry', default='This task waits for its next run.'),
    'lost': _('task-lost', default='The state of this task was lost.'),
    'expired': _('expired', default='This task was not started in time.'),
}


def message_members(code: str) -> Record:
    """Return the members of a record for one of :data:`MESSAGES`: its English text, and its code for translation.

    :param code: a key of :data:`MESSAGES`
    """
    return {'message': encode('message', MESSAGES[code]), MESSAGE_CODE: encode('code', code)}
