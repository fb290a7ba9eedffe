"""The routes; those of the progress bars come with pyramid_progress."""


def includeme(config):
    """Add the routes."""
    config.add_route('home', '/')
    config.add_route('login', '/login')
    config.add_route('logout', '/logout')
    config.add_route('import', '/import')
    config.add_route('import_progress', '/import/{progress_id:[0-9a-f]{32}}')
    config.add_route('api_imports', '/api/imports')
    config.add_route('api_contacts', '/api/contacts')
