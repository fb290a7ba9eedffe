"""Who sees a task: a rule of the application (setting ``progress.access``)."""


def may_see(request, progress_id, status):
    """Show users their own tasks, and those with the tag ``public``.

    :param request: the request that asks for the task, or draws its bar
    :param progress_id: the id of the task
    :param status: its status, with its owner
    :return: whether the request may see it
    """
    if request.authenticated_userid is None:
        return False
    return status.get('owner') == str(request.authenticated_userid) or 'public' in (status.get('tags') or [])
